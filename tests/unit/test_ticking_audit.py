"""The audit finds every way in which ticks and records can differ."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from service.core.audit import Difference, Fault, audit
from service.core.schedule import compile_schedule
from service.core.tick import TickOutcome, TickRecord

HOURLY = compile_schedule("0 * * * *", "Europe/Berlin")
MIDNIGHT = datetime(2026, 6, 10, tzinfo=UTC)


def hour(number: float) -> datetime:
    return MIDNIGHT + timedelta(hours=number)


def record(first: float, last: float, count: int) -> TickRecord:
    return TickRecord(first=hour(first), last=hour(last), count=count, outcome=TickOutcome.MISSED)


GOOD = [record(1, 1, 1), record(2, 9, 8), record(10, 10, 1), record(11, 12, 2)]


def found(*records: TickRecord) -> list[Difference]:
    return list(audit(HOURLY, hour(0), hour(12), records))


def difference(fault: Fault, first: float, last: float, expected: int, recorded: int) -> Difference:
    return Difference(
        fault=fault, first=hour(first), last=hour(last), expected=expected, recorded=recorded
    )


def test_a_whole_history_has_no_difference() -> None:
    """Records that hold each tick once are accepted, in whatever order they come."""
    assert found(*GOOD) == []
    assert found(*reversed(GOOD)) == []


def test_records_may_reach_out_of_the_window() -> None:
    """A range that begins before the window or ends after it is judged whole."""
    assert found(record(-5, 3, 9), record(4, 20, 17)) == []
    assert found(record(-5, 3, 8), record(4, 12, 9)) == [difference(Fault.MISCOUNTED, -5, 3, 9, 8)]


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_each_lost_record_is_found(place: int) -> None:
    """A tick without a record is reported, at the start, in the middle and at the end."""
    lost = GOOD[place]
    [one] = found(*GOOD[:place], *GOOD[place + 1 :])
    assert one.fault is Fault.UNRECORDED
    assert (one.first, one.expected, one.recorded) == (lost.first, lost.count, 0)


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_each_doubled_record_is_found(place: int) -> None:
    """A tick with two records is reported."""
    doubled = GOOD[place]
    [one] = found(*GOOD, doubled)
    assert one.fault is Fault.REPEATED
    assert (one.first, one.last) == (doubled.first, doubled.last)
    assert (one.expected, one.recorded) == (doubled.count, 2 * doubled.count)


def test_ranges_that_share_ticks_are_found() -> None:
    """Only the ticks that two ranges share are reported."""
    assert found(record(1, 7, 7), record(6, 12, 7)) == [difference(Fault.REPEATED, 6, 7, 2, 4)]
    assert found(record(1, 12, 12), record(3, 4, 2), record(6, 6, 1)) == [
        difference(Fault.REPEATED, 3, 4, 2, 4),
        difference(Fault.REPEATED, 6, 6, 1, 2),
    ]


@pytest.mark.parametrize("place", range(len(GOOD)))
def test_each_wrong_count_is_found(place: int) -> None:
    """A record that counts more ticks or fewer than there are is reported."""
    wrong = attrs.evolve(GOOD[place], count=GOOD[place].count + 1)
    assert found(*GOOD[:place], wrong, *GOOD[place + 1 :]) == [
        Difference(
            fault=Fault.MISCOUNTED,
            first=wrong.first,
            last=wrong.last,
            expected=wrong.count - 1,
            recorded=wrong.count,
        )
    ]


def test_a_record_between_ticks_is_found() -> None:
    """A record whose ends are no ticks of the schedule is reported, and hides no tick."""
    assert found(*GOOD, record(4.5, 4.5, 1)) == [difference(Fault.UNEXPECTED, 4.5, 4.5, 0, 1)]
    part = timedelta(microseconds=1)
    shifted = attrs.evolve(GOOD[0], first=GOOD[0].first + part, last=GOOD[0].last + part)
    assert [one.fault for one in found(shifted, *GOOD[1:])] == [Fault.UNEXPECTED]


def test_no_records_at_all() -> None:
    """A window without records is one difference, however many ticks it has."""
    schedule = compile_schedule("* * * * * *", "UTC")
    [one] = audit(schedule, hour(0), hour(24 * 365), [])
    assert (one.first, one.last) == (hour(0) + timedelta(seconds=1), hour(24 * 365))
    assert one.expected == 365 * 86_400


def test_a_difference_speaks_for_itself() -> None:
    """The text names when, what, and how many."""
    [one] = found(*GOOD[1:])
    assert str(one) == (
        "2026-06-10T01:00:00.000Z to 2026-06-10T01:00:00.000Z: no record of these ticks "
        "(1 expected, 0 recorded)"
    )
