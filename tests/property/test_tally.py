"""A tally against the SDK's own instruments: whatever is told, the same is sent."""

from hypothesis import given
from hypothesis import strategies as st

from service.observability.instruments import Labels
from tests.tallies import Both

BOUNDS = (0.5, 1.0, 10.0)
LABELS: st.SearchStrategy[Labels] = st.sampled_from(
    [
        Labels({}),
        Labels({"job.id": "echo"}),
        Labels({"job.id": "echo", "outcome": "ok"}),
        Labels({"outcome": "ok", "job.id": "echo"}),
        Labels({"http.response.status_code": 202}),
        Labels({"http.response.status_code": "202"}),
    ]
)
AMOUNTS = st.one_of(st.integers(0, 20), st.integers(0, 80).map(lambda quarters: quarters / 4))
"""Exact in binary: the SDK adds up in another order."""
FACTS = st.tuples(st.integers(0, 2**40), AMOUNTS, LABELS)


@given(batches=st.lists(st.lists(FACTS, max_size=10), min_size=1, max_size=4))
def test_what_arrives_is_what_the_sdk_would_have_said(
    batches: list[list[tuple[int, float, Labels]]],
) -> None:
    """Names, units, words, bounds, sums, labels and resource, however often it is sent."""
    both = Both()
    instruments = [
        (
            meter.create_counter("job.runs", "{run}", "Runs"),
            meter.create_gauge("job.queue.age", "s", "Age"),
            meter.create_histogram(
                "job.run.wait", "s", "Wait", explicit_bucket_boundaries_advisory=BOUNDS
            ),
        )
        for meter in both.meters
    ]
    for batch in batches:
        for counter, gauge, histogram in instruments:
            counter.add(0)
            for count, amount, labels in batch:
                counter.add(count, labels)
                gauge.set(amount, labels)
                histogram.record(amount, labels)
        ours, theirs = both.read()
        assert ours == theirs
