"""A time zone as a chain of stretches, each at one distance from UTC.

`zoneinfo` tells the distance at an instant, but not when it changes; so each day of a year is
looked at once, and a change is searched within its day. In the time zone database no two changes
since 1970 are less than six days apart.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import attrs

__all__ = ["Stretch", "stretches"]

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
    """Yield the stretches that cover [start, end), and the changes shortly before `start`."""
    since = start - _LONGEST_CHANGE
    offset = offset_before = _offset(zone, since)
    for year in range(since.year, end.year + 1):
        for change in _changes(zone, year):
            if since < change < end:
                yield Stretch(since, change, offset, offset_before)
                since, offset_before, offset = change, offset, _offset(zone, change)
    if start < end:
        yield Stretch(since, end, offset, offset_before)


@lru_cache(maxsize=4096)
def _changes(zone: ZoneInfo, year: int) -> tuple[datetime, ...]:
    """Return the instants of `year` (UTC) from which on the offset is another."""
    changes = []
    day = datetime(year, 1, 1)  # noqa: DTZ001 - plain UTC, see core/schedule.py
    while day.year == year:
        offset = _offset(zone, day)
        if _offset(zone, day + _DAY) != offset:
            changes.append(_first_change(zone, day, offset))
        day += _DAY
    return tuple(changes)


def _first_change(zone: ZoneInfo, day: datetime, offset: timedelta) -> datetime:
    def has_changed(second: int) -> bool:
        return _offset(zone, day + timedelta(seconds=second)) != offset

    return day + timedelta(seconds=bisect_left(range(86_400), True, key=has_changed))  # noqa: FBT003 - the value sought


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return zone.fromutc(moment.replace(tzinfo=zone)).replace(tzinfo=None) - moment
