"""What commands say to a person."""

from datetime import UTC, datetime

import click
import pytest

from service.cli.cron import upcoming
from service.cli.facts import counted
from service.cli.times import span
from service.core.schedule import compile_schedule


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (12_345, "12,345 runs")]
)
def test_one_is_not_many(number: int, said: str) -> None:
    """A count agrees with its noun."""
    assert counted(number, "run") == said


@pytest.mark.parametrize("text", ["2", "-1d", "1y", "36526d", "999999w"])
def test_a_span_reaches_back_a_century_at_most(text: str) -> None:
    """What is no span, and one that would leave the calendar, is refused in words."""
    with pytest.raises(click.BadParameter, match=f"'{text}' is not a span"):
        span(text)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_ticks_end_with_the_calendar(zone: str) -> None:
    """Asked for more ticks than Python has years, one gets those that there are."""
    yearly = compile_schedule("@yearly", zone)
    ahead = list(upcoming(yearly, datetime(9950, 6, 1, tzinfo=UTC)))
    assert 7 <= len(ahead) <= 49
