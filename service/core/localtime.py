"""Where an expression matches in plain local time, as if there were no time zones.

The times of a day that match are numbered: hours, minutes and seconds are the digits of a number
in a mixed base, so the n-th time of a day and the number of times before a given one are computed,
not searched.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from service.core.expression import Expression

__all__ = ["count", "moments"]


def moments(expression: Expression, start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the local times in [start, end) at which `expression` matches, in order."""
    for day, numbers in _days(expression, start, end):
        for number in numbers:
            minutes, second = divmod(number, len(expression.seconds))
            hour, minute = divmod(minutes, len(expression.minutes))
            yield datetime(  # noqa: DTZ001 - local time, whatever the zone
                day.year,
                day.month,
                day.day,
                expression.hours[hour],
                expression.minutes[minute],
                expression.seconds[second],
            )


def count(expression: Expression, start: datetime, end: datetime) -> int:
    """Count the local times in [start, end) at which `expression` matches; linear in days."""
    return sum(len(numbers) for _, numbers in _days(expression, start, end))


def _days(expression: Expression, start: datetime, end: datetime) -> Iterator[tuple[date, range]]:
    """Yield each matching day with the numbers of its times that lie in [start, end)."""
    times = len(expression.hours) * len(expression.minutes) * len(expression.seconds)
    day, first, last = start.date(), start.date(), end.date()
    while day <= last and start < end:
        if day.month not in expression.months:
            day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
            continue
        if _matches(expression, day):
            low = _times_before(expression, start) if day == first else 0
            high = _times_before(expression, end) if day == last else times
            yield day, range(low, high)
        day += timedelta(days=1)


def _matches(expression: Expression, day: date) -> bool:
    in_days = day.day in expression.days
    in_weekdays = day.isoweekday() % 7 in expression.weekdays
    return (in_days or in_weekdays) if expression.either_day else (in_days and in_weekdays)


def _times_before(expression: Expression, moment: datetime) -> int:
    """Count the matching times of a day that are earlier than the time of `moment`."""
    number, exact = 0, True
    for digits, value in (
        (expression.hours, moment.hour),
        (expression.minutes, moment.minute),
        (expression.seconds, moment.second),
    ):
        place = bisect_left(digits, value) if exact else 0
        number = number * len(digits) + place
        exact = exact and place < len(digits) and digits[place] == value
    return number
