"""Metrics as a collector receives them."""

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from service.observability import metrics
from service.observability.telemetry import telemetry
from service.observability.traces import step_span
from service.settings import Settings
from tests.receivers import Receiver

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


def settings(receiver: Receiver) -> Settings:
    return Settings(otlp_endpoint=receiver.traces_url, otlp_metrics_endpoint=receiver.metrics_url)


def say_everything() -> None:
    """State each fact that there is a metric for, once."""
    metrics.run_started("echo", 0.2)
    metrics.attempt_ended("echo", "retry", 1.5)
    metrics.run_retried("echo")
    metrics.run_ended("echo", "webhook", "ok")
    metrics.run_crashed(2)
    metrics.request_answered("POST", "/webhook", 202, 0.004)
    metrics.request_answered("GET", None, 404, 0.001)
    metrics.request_answered("POST", "/webhook", 503, 0.002)
    metrics.delivery_repeated()
    metrics.ticks_accounted("morning", "missed", 3)
    metrics.cron_run_late("morning", 0.1)
    metrics.group_committed(12, 0.003)
    metrics.group_lost()
    metrics.loop_lagged(0.02)
    metrics.store_measured(queued=7, oldest_seconds=1.5, database_bytes=4096, wal_bytes=512)


def test_every_fact_arrives_under_its_conventional_name() -> None:
    """Names, units and labels are OpenTelemetry's: dots, UCUM, and bounded labels only."""
    with Receiver() as receiver, telemetry(settings(receiver)):
        say_everything()
    assert {name: metric.unit for name, metric in receiver.metrics.items()} == {
        "job.runs": "{run}",
        "job.attempt.duration": "s",
        "job.run.wait": "s",
        "job.retries": "{retry}",
        "job.crashes": "{crash}",
        "job.queue.depth": "{run}",
        "job.queue.age": "s",
        "http.server.request.duration": "s",
        "webhook.deliveries.repeated": "{delivery}",
        "cron.ticks": "{tick}",
        "cron.lateness": "s",
        "store.group.size": "{question}",
        "store.group.duration": "s",
        "store.groups.lost": "{group}",
        "loop.lag": "s",
        "store.database.size": "By",
        "store.wal.size": "By",
    }
    assert receiver.points("job.runs") == [
        ({"job.id": "echo", "run.trigger": "webhook", "outcome": "ok"}, 1)
    ]
    assert receiver.points("job.crashes") == [({}, 2)]
    assert receiver.points("job.queue.depth") == [({}, 7)]
    assert receiver.points("cron.ticks") == [({"cron.id": "morning", "outcome": "missed"}, 3)]
    assert receiver.points("store.group.size") == [({}, 12)]
    assert receiver.points("store.groups.lost") == [({}, 1)]
    unrouted = {
        "http.request.method": "GET",
        "http.response.status_code": "404",
        "url.scheme": "http",
    }
    failed = {
        "http.request.method": "POST",
        "http.response.status_code": "503",
        "http.route": "/webhook",
        "url.scheme": "http",
        "error.type": "503",
    }
    assert (failed, 0.002) in receiver.points("http.server.request.duration")
    assert (unrouted, 0.001) in receiver.points("http.server.request.duration")


def test_metrics_and_traces_are_of_one_instance() -> None:
    """What tells this process from another is the same in both, so that they can be joined."""
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            say_everything()
            with step_span("beside"):
                pass
        [span] = receiver.spans
        instance = str(span.resource["service.instance.id"]).encode()
        assert [instance in body for body in receiver.raw] == [True, True]


def test_without_an_endpoint_nothing_is_counted() -> None:
    """Unset is off: nobody gathers facts, and nothing is sent."""
    with Receiver() as receiver:
        with telemetry(Settings(otlp_endpoint=receiver.traces_url)):
            assert not metrics.is_metered()
            say_everything()
        assert receiver.requests == 0


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_METRICS_EXPORTER", "none")]
)
def test_standard_variables_turn_metrics_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """OpenTelemetry's own switches work on metrics too."""
    monkeypatch.setenv(name, value)
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            say_everything()
        assert not receiver.metrics


def test_sums_and_histograms_are_cumulative_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry's own variables say how to count, too."""
    with Receiver() as usual, telemetry(settings(usual)):
        say_everything()
    assert usual.metrics["job.runs"].sum.is_monotonic
    assert usual.metrics["job.runs"].sum.aggregation_temporality == CUMULATIVE
    assert usual.metrics["loop.lag"].histogram.aggregation_temporality == CUMULATIVE

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta")
    with Receiver() as delta, telemetry(settings(delta)):
        say_everything()
    assert delta.metrics["job.runs"].sum.aggregation_temporality == DELTA
    assert delta.metrics["loop.lag"].histogram.aggregation_temporality == DELTA
    assert usual.metrics.keys() == delta.metrics.keys()


def test_histograms_are_exponential_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variable chooses the kind of histogram."""
    monkeypatch.setenv(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "base2_exponential_bucket_histogram",
    )
    with Receiver() as receiver, telemetry(settings(receiver)):
        say_everything()
    assert receiver.metrics["loop.lag"].WhichOneof("data") == "exponential_histogram"


def test_exemplars_are_of_every_fact_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variable chooses which facts may be shown as examples."""
    monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", "always_on")
    with Receiver() as receiver, telemetry(settings(receiver)):
        say_everything()
    assert receiver.metrics["loop.lag"].histogram.data_points[0].exemplars
