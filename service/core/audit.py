"""The proof that every tick is accounted for: expected ticks against what was recorded."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final

import attrs

from service.core.schedule import Schedule, count_ticks, newest_ticks, next_tick
from service.core.tick import TickRecord
from service.core.wire import rfc3339

__all__ = ["Difference", "Fault", "audit"]

_SECOND: Final = timedelta(seconds=1)


class Fault(StrEnum):
    """What can be wrong between ticks and records."""

    UNRECORDED = "no record of these ticks"
    REPEATED = "ticks with more than one record"
    UNEXPECTED = "a record that does not begin and end at ticks"
    MISCOUNTED = "a record of more or fewer ticks than there are"


@attrs.frozen(kw_only=True)
class Difference:
    """A fault between two instants, both included: how many ticks there are, how many recorded."""

    fault: Fault
    first: datetime
    last: datetime
    expected: int
    recorded: int

    def __str__(self) -> str:
        return (
            f"{rfc3339(self.first)} to {rfc3339(self.last)}: {self.fault} "
            f"({self.expected} expected, {self.recorded} recorded)"
        )


def audit(
    schedule: Schedule, since: datetime, until: datetime, records: Iterable[TickRecord]
) -> Iterator[Difference]:
    """Yield every difference between the ticks in (since, until] and their records, in order.

    `records` are those of one job that reach into (since, until]; one that reaches out of it is
    checked whole. `until` is the job's watermark at the latest: what is due later has no record
    yet. The cost grows with records and days, not with ticks.
    """
    done = since
    recorded_until: datetime | None = None
    for record in sorted(records, key=attrgetter("first", "last")):
        yield from _unrecorded(schedule, done, min(record.first - _SECOND, until))
        if recorded_until is not None and record.first <= recorded_until:
            yield from _repeated(schedule, record, min(record.last, recorded_until))
        yield from _record_faults(schedule, record)
        recorded_until = max(record.last, recorded_until or record.last)
        done = max(done, record.last)
    yield from _unrecorded(schedule, done, until)


def _unrecorded(schedule: Schedule, after: datetime, until: datetime) -> Iterator[Difference]:
    expected = count_ticks(schedule, after, until)
    if expected:
        [last] = newest_ticks(schedule, after, until, most=1)
        yield Difference(
            fault=Fault.UNRECORDED,
            first=next_tick(schedule, after),
            last=last,
            expected=expected,
            recorded=0,
        )


def _repeated(schedule: Schedule, record: TickRecord, last: datetime) -> Iterator[Difference]:
    expected = count_ticks(schedule, record.first - _SECOND, last)
    if expected:
        yield Difference(
            fault=Fault.REPEATED,
            first=record.first,
            last=last,
            expected=expected,
            recorded=2 * expected,
        )


def _record_faults(schedule: Schedule, record: TickRecord) -> Iterator[Difference]:
    expected = count_ticks(schedule, record.first - _SECOND, record.last)
    at_ticks = _is_tick(schedule, record.first) and _is_tick(schedule, record.last)
    if not at_ticks or expected != record.count:
        yield Difference(
            fault=Fault.MISCOUNTED if at_ticks else Fault.UNEXPECTED,
            first=record.first,
            last=record.last,
            expected=expected,
            recorded=record.count,
        )


def _is_tick(schedule: Schedule, moment: datetime) -> bool:
    return moment.microsecond == 0 and count_ticks(schedule, moment - _SECOND, moment) == 1
