"""What holds for every schedule, whatever it says."""

import contextlib
import string
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from service.core.expression import ExpressionError, parse
from service.core.schedule import (
    Schedule,
    compile_schedule,
    count_ticks,
    newest_ticks,
    next_tick,
    ticks,
)
from service.core.stretches import stretches
from tests.property.cron_oracle import ZONES, random_spec, transitions

schedules = st.builds(
    lambda seed, zone: compile_schedule(random_spec(Random(seed)).text, zone),
    st.integers(0, 2**32),
    st.sampled_from(ZONES),
)
instants = st.datetimes(
    datetime(2015, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(2037, 12, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
spans = st.floats(0, 4 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


@given(schedules, instants, spans, spans)
def test_a_window_splits_anywhere(
    schedule: Schedule, start: datetime, span: timedelta, more: timedelta
) -> None:
    """No tick is lost or doubled between two windows that touch, whatever instant they touch at."""
    middle, end = start + span, start + span + more
    parts = [*ticks(schedule, start, middle), *ticks(schedule, middle, end)]
    assert parts == list(ticks(schedule, start, end))
    assert all(earlier < later for earlier, later in pairwise(parts))
    assert all(start < tick <= end and tick.tzinfo is UTC for tick in parts)


@given(schedules, instants, spans, st.integers(1, 50))
def test_shortcuts_agree_with_the_list(
    schedule: Schedule, start: datetime, span: timedelta, most: int
) -> None:
    """Counting, the newest and the next ticks are what the whole list says."""
    listed = list(ticks(schedule, start, start + span))
    assert count_ticks(schedule, start, start + span) == len(listed)
    assert newest_ticks(schedule, start, start + span, most=most) == listed[-most:]
    following = next_tick(schedule, start)
    assert [following] == listed[:1] or following > start + span


@given(instants, spans)
def test_nothing_lies_in_a_window_that_runs_backwards(start: datetime, span: timedelta) -> None:
    """A clock that stepped back asks for the ticks of a negative span: there are none."""
    schedule = compile_schedule("* * * * * *", "Europe/Berlin")
    assert not list(ticks(schedule, start, start - span))
    assert count_ticks(schedule, start, start - span) == 0


@given(st.text(max_size=300) | st.text("0123456789*/,- @LWHR#?adn", max_size=40))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """No text makes the parser fail in any other way than by its own error."""
    with contextlib.suppress(ExpressionError):
        assert parse(text).minutes
        assert set(text) <= {*string.ascii_letters, *string.digits, *string.whitespace, *"*/,-@"}


def test_no_clock_change_is_overlooked() -> None:
    """Looking at a zone every few days finds the same changes as looking at it every day."""
    start, end = datetime(2015, 1, 1), datetime(2038, 1, 1)  # noqa: DTZ001 - plain UTC
    for zone in ZONES:
        chain = list(stretches(compile_schedule("@daily", zone).zone, start, end))
        changes = tuple(stretch.start.replace(tzinfo=UTC) for stretch in chain[1:])
        assert changes == transitions(zone)
        assert all(one.end == other.start for one, other in pairwise(chain))
        assert chain[-1].end == end
