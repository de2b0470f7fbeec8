"""A tally: as bounded, as traceable and as safe among threads as the SDK's own instruments."""

import sys
from collections.abc import Iterator
from threading import Thread
from typing import Self

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import Sum
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from service.observability.instruments import Labels
from service.observability.metrics import GROUP_SIZES
from service.observability.tally import MOST_SERIES, Tally
from tests.tallies import RESOURCE, Both

THREADS = 4
FACTS_A_THREAD = 50


def in_trace(flags: int) -> NonRecordingSpan:
    return NonRecordingSpan(SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(flags)))


@pytest.mark.parametrize("flags", [TraceFlags.DEFAULT, TraceFlags.SAMPLED])
def test_a_fact_points_to_its_trace_if_that_is_sent(flags: int) -> None:
    """Exemplars arrive as the SDK's do: one a counter and one a bucket, for each delivery."""
    both = Both()
    for meter in both.meters:
        counter = meter.create_counter("runs", "{run}", "Runs")
        gauge = meter.create_gauge("depth", "{run}", "Depth")
        histogram = meter.create_histogram(
            "size", "{run}", "Size", explicit_bucket_boundaries_advisory=GROUP_SIZES
        )
        with trace.use_span(in_trace(flags)):
            counter.add(2, Labels({"job.id": "echo"}))
            gauge.set(3)
            for size in (300, 0.5, 4):
                histogram.record(size)
    first, their_first = both.read()
    assert first == their_first
    assert ("exemplars" in str(first)) == bool(flags)
    again, their_again = both.read()
    assert again == their_again
    assert "exemplars" not in str(again)


def test_labels_are_bounded() -> None:
    """What exceeds the SDK's limit shares one series, and what was known goes on."""
    both = Both()
    for meter in both.meters:
        counter = meter.create_counter("runs", "{run}", "Runs")
        for number in range(MOST_SERIES + 2):
            counter.add(1, Labels({"number": number}))
        counter.add(1, Labels({"number": 0}))
    ours, theirs = both.read()
    assert ours == theirs
    [metric] = ours.resource_metrics[0].scope_metrics[0].metrics
    assert len(metric.sum.data_points) == MOST_SERIES + 1


class Torn(int):
    """A number whose addition takes a while: another thread has its turn meanwhile."""

    def __radd__(self, other: int) -> int:
        for _ in range(1000):
            pass
        return other + int(self)

    def __new__(cls) -> Self:
        return super().__new__(cls, 1)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_no_fact_is_lost_among_threads() -> None:
    """The loop, the store's thread and the one that sends may meet."""
    tally = Tally(RESOURCE, "service")
    counter = tally.create_counter("runs", "{run}", "Runs")

    def count() -> None:
        for _ in range(FACTS_A_THREAD):
            counter.add(Torn())
            tally.read()

    threads = [Thread(target=count) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [metric] = tally.read().resource_metrics[0].scope_metrics[0].metrics
    assert isinstance(metric.data, Sum)
    [point] = metric.data.data_points
    assert point.value == THREADS * FACTS_A_THREAD
