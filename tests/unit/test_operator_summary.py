"""What many runs come to."""

import pytest

from service.cli.times import duration
from service.core.run import Status
from service.core.summary import Tally, percentile


def test_a_tally_tells_jobs_apart() -> None:
    """Each run counts once, for its job; one that has not ended has no time."""
    tally = Tally()
    for second in range(1, 101):
        tally.add("b", Status.OK, float(second))
    tally.add("a", Status.ERROR, 3.0)
    tally.add("a", Status.CANCELLED, None)
    tally.add("a", Status.QUEUED, None)
    summaries = tally.summaries()
    assert list(summaries) == ["a", "b"]
    assert (summaries["b"].runs, summaries["b"].ok) == (100, 100)
    assert (summaries["b"].p50_seconds, summaries["b"].p95_seconds) == (50.0, 95.0)
    a = summaries["a"]
    assert (a.runs, a.failed, a.cancelled, a.p50_seconds) == (3, 1, 1, 3.0)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, None), ([7.0], 95, 7.0), ([1.0, 2.0], 50, 1.0), ([1.0, 2.0, 3.0], 95, 3.0)],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], percent: int, expected: float | None
) -> None:
    """By nearest rank: nothing is made up between two runs."""
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.0123, "12 ms"),
        (59.9, "59.9 s"),
        (60, "1 min 0 s"),
        (3_600, "1 h 0 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_duration_is_short(seconds: float | None, said: str) -> None:
    """Two units at most."""
    assert duration(seconds) == said
