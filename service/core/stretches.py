"""A time zone as a chain of stretches, each at one distance from UTC.

`zoneinfo` tells the distance at an instant, but not when it changes. So it is asked every few days
of a year, once, and a change is searched between two answers that differ. In the time zone database
no two changes since 1970 are less than six days apart.
"""

from bisect import bisect_left
from calendar import isleap
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import attrs

__all__ = ["Stretch", "stretches"]

_STEP_DAYS: Final = 3
_DAY: Final = timedelta(days=1)
_LONGEST_CHANGE: Final = 2 * _DAY  # Samoa and Kwajalein left out one


@attrs.frozen
class Stretch:
    """From `start` to before `end`, both plain UTC, local time is UTC + `offset`."""

    start: datetime
    end: datetime
    offset: timedelta
    offset_before: timedelta
    """The offset until `start`; the same where `start` is no change."""


def stretches(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Stretch]:
    """Yield the stretches that cover [start, end), from shortly before `start`."""
    since = start - _LONGEST_CHANGE
    offset = offset_before = _offset(zone, since)
    for year in range(since.year, end.year + 1):
        for change in _changes(zone, year):
            if since < change < end:
                yield Stretch(since, change, offset, offset_before)
                since, offset_before, offset = change, offset, _offset(zone, change)
    yield Stretch(since, end, offset, offset_before)


@lru_cache(maxsize=8192)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return the instants of `year` (UTC) from which on the offset is another."""
    new_year = datetime(year, 1, 1)  # noqa: DTZ001 - plain UTC, see core/schedule.py
    days = 365 + isleap(year)  # not by the next new year, which the last year has not
    changes: list[datetime] = []
    before, offset = new_year, _offset(zone, new_year)
    for day in (*range(_STEP_DAYS, days, _STEP_DAYS), days):
        after = new_year + day * _DAY
        if _offset(zone, after) != offset:
            changes.append(_first_change(zone, before, after))
            offset = _offset(zone, after)
        before = after
    return tuple(changes)


def _first_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    offset = _offset(zone, after)
    seconds = range(int((after - before).total_seconds()))
    second = timedelta(seconds=1)
    passed = bisect_left(
        seconds, 1, key=lambda passed: int(_offset(zone, before + passed * second) == offset)
    )
    return before + passed * second


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return zone.fromutc(moment.replace(tzinfo=zone)).replace(tzinfo=None) - moment
