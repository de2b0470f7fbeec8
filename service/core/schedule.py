"""When a schedule ticks: its expression read in its time zone.

Theory of operation
-------------------
Local time is a chain of stretches, each at one distance from UTC. Inside a stretch a local time
happens exactly once, so ticks are found in plain local time (`core/localtime.py`) and moved to
UTC. What remains are the seams between stretches, and there Debian cron's rules hold (cron(8)):

* A job whose minute or hour field starts with `*` follows real time. Nothing to do: local times
  that a stretch skips do not happen, and those that it repeats happen again.
* A job at a fixed time runs once. What it would have done in a gap it does once, at the gap's end.
  What a stretch repeats is left out, for it ran the first time.

Debian cron applies this to changes of less than three hours; here it holds for every gap, so that
a job of the day that Samoa left out in 2011 was not lost. Six fields follow the same rules.

Every instant here is a whole second in UTC; those that come in and go out are aware, those inside
are not, because plain ones are faster and a zone has no say in them.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from service.core import expression, localtime
from service.core.expression import Expression
from service.core.stretches import stretches

__all__ = ["Schedule", "compile_schedule", "count_ticks", "newest_ticks", "next_tick", "ticks"]

_SECOND: Final = timedelta(seconds=1)
_HORIZON: Final = timedelta(days=41 * 366)
"""29 February falls on a given weekday at least once in 40 years: nothing is rarer."""


@attrs.frozen
class Schedule:
    """A cron expression and the zone whose clocks it means."""

    expression: Expression
    zone: ZoneInfo


def compile_schedule(text: str, timezone: str) -> Schedule:
    """Return the schedule of a cron expression in an IANA time zone.

    Raises ValueError for an expression that is not accepted and for an unknown zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):  # unknown, not a relative path, a directory
        raise ValueError(f"{timezone!r} is not an IANA time zone such as Europe/Berlin") from None
    return Schedule(expression.parse(text), zone)


def ticks(schedule: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the nominal ticks in (after, until], strictly increasing, aware and in UTC."""
    for span in _spans(schedule, after, until):
        if span.repaired is not None:
            yield span.repaired.replace(tzinfo=UTC)
        for moment in localtime.moments(schedule.expression, span.low, span.high):
            yield (moment - span.offset).replace(tzinfo=UTC)


def next_tick(schedule: Schedule, after: datetime) -> datetime:
    """Return the first tick later than `after`; raises OverflowError from the year 9958 on."""
    return next(ticks(schedule, after, after + _HORIZON))


def count_ticks(schedule: Schedule, after: datetime, until: datetime) -> int:
    """Count the ticks in (after, until] without listing them: the cost grows with days."""
    return sum(
        (span.repaired is not None) + localtime.count(schedule.expression, span.low, span.high)
        for span in _spans(schedule, after, until)
    )


def newest_ticks(
    schedule: Schedule, after: datetime, until: datetime, *, most: int
) -> list[datetime]:
    """Return the last ticks in (after, until], at most `most`, without listing the others."""
    found = list(islice(ticks(schedule, after, until), most + 1))
    if len(found) <= most:
        return found
    seconds = bisect_left(
        range(int((until - after).total_seconds())),
        -most,
        key=lambda passed: -count_ticks(schedule, after + passed * _SECOND, until),
    )
    return list(ticks(schedule, after + seconds * _SECOND, until))


@attrs.frozen
class _Span:
    """Local times [low, high) that happen once, at `offset`; first a tick that a gap left over."""

    repaired: datetime | None
    low: datetime
    high: datetime
    offset: timedelta


def _spans(schedule: Schedule, after: datetime, until: datetime) -> Iterator[_Span]:
    start, end = _whole(after) + _SECOND, _whole(until) + _SECOND
    for stretch in stretches(schedule.zone, start, end):
        low = max(stretch.start, start) + stretch.offset
        high = min(stretch.end, end) + stretch.offset
        repaired = None
        if schedule.expression.fixed_time:
            reached = stretch.start + stretch.offset_before
            gap = reached < low and stretch.start >= start
            if gap and localtime.count(schedule.expression, reached, low + _SECOND):
                repaired = stretch.start
                low += _SECOND
            low = max(low, reached)
        yield _Span(repaired, low, high, stretch.offset)


def _whole(moment: datetime) -> datetime:
    """Return the moment as plain UTC, cut to the second."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)
