"""Cron expressions: which are accepted, and what they mean in local time.

The grammar is Vixie's, and ours to guard: whatever passes is plain numbers by the time croniter
expands it, for croniter also knows syntax that we refuse (`L # R H ? W`, a year, ranges that run
backwards) and reads `5-5` as "always".
"""

import re
from functools import lru_cache
from typing import Final

import attrs

__all__ = ["Expression", "ExpressionError", "parse"]

LENGTH_MAX: Final = 256
_MONTH_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_ITEM: Final = re.compile(
    r"(?:(?P<star>\*)|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d+))?", re.ASCII
)
_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class ExpressionError(ValueError):
    """The expression is not accepted; the message points at the field and says what is."""


@attrs.frozen
class _Field:
    """A field's name, its values from `low` to `high`, and the names that some of them have."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, word: str) -> int:
        """Return the value that `word` names."""
        if word.lower() in self.names:
            return self.low + self.names.index(word.lower())
        if word.isdigit() and self.low <= int(word) <= self.high:
            return int(word)
        also = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
        raise ExpressionError(f"{word!r} is not in {self.low}-{self.high}{also}")


_SECOND: Final = _Field("second", 0, 59)
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _WEEKDAYS),  # 7 is Sunday too
)


@attrs.frozen(kw_only=True)
class Expression:
    """The values that local time must show for a tick; Sunday is weekday 0."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    """One of `days` and `weekdays` is enough: neither field starts with `*` (Vixie's rule)."""
    fixed_time: bool
    """Neither the minute nor the hour starts with `*`: what Debian cron repairs on DST nights."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Read five fields, six with seconds first, or an alias such as `@daily`.

    Raises ExpressionError for anything else, and for what never comes (31 February).
    """
    if len(text) > LENGTH_MAX:
        raise ExpressionError(f"has {len(text)} characters, at most {LENGTH_MAX} are accepted")
    if text.lstrip().startswith("@") and text.strip().lower() not in _ALIASES:
        raise ExpressionError(f"{text!r} is not one of {', '.join(_ALIASES)}")
    words = _ALIASES.get(text.strip().lower(), text).split()
    fields = _FIELDS if len(words) == len(_FIELDS) else (_SECOND, *_FIELDS)
    if len(words) != len(fields):
        raise ExpressionError(
            f"{text!r} has {len(words)} fields; accepted are 5 (minute, hour, day of month, month, "
            "day of week) or 6 (second first)"
        )
    plain = [_plain(place, *pair) for place, pair in enumerate(zip(fields, words, strict=True), 1)]
    if len(words) == len(_FIELDS):
        words, plain = ["0", *words], ["0", *plain]
    expression = _expression(words, plain)
    longest = max(_MONTH_DAYS[month - 1] for month in expression.months)
    if min(expression.days) > longest and not expression.either_day:
        raise ExpressionError(
            f"field {len(fields) - 2} (day of month): {words[3]!r} never comes, for the months "
            f"{words[4]!r} have at most {longest} days"
        )
    return expression


def _plain(place: int, field: _Field, word: str) -> str:
    """Return the field in plain numbers, each item like `*`, `5` or `1-5/1`."""
    try:
        return ",".join(_plain_item(field, item) for item in word.split(","))
    except ExpressionError as error:
        raise ExpressionError(f"field {place} ({field.name}): {error}") from None


def _plain_item(field: _Field, item: str) -> str:
    if item == "*":
        return item
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ExpressionError(
            f"{item!r} is not understood; accepted are *, values, ranges such as 1-5, steps "
            "such as */10 or 1-5/2, and lists of these with commas"
        )
    low = field.low if found["star"] else field.number(found["low"])
    high = low
    if found["high"]:
        high = field.number(found["high"])
    elif found["star"] or found["step"]:  # 5/15 is 5-59/15
        high = field.high
    if high < low:
        raise ExpressionError(f"the range of {item!r} runs backwards")
    step, step_max = int(found["step"] or 1), field.high - field.low + 1
    if not 1 <= step <= step_max:
        raise ExpressionError(f"the step of {item!r} is not in 1-{step_max}")
    return str(low) if low == high else f"{low}-{high}/{step}"


def _expression(words: list[str], plain: list[str]) -> Expression:
    """Expand six fields, seconds first; in `words` as they were written."""
    from croniter import croniter  # noqa: PLC0415 - a start without cron jobs does not wait for it

    expanded: list[list[int | str]] = croniter.expand(" ".join(plain), second_at_beginning=True)[0]
    minutes, hours, days, months, weekdays, seconds = (
        range(field.low, field.high + 1) if "*" in values else [int(value) for value in values]
        for field, values in zip((*_FIELDS, _SECOND), expanded, strict=True)
    )
    _, minute, hour, day, _, weekday = (word.startswith("*") for word in words)
    return Expression(
        seconds=tuple(sorted(seconds)),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(value % 7 for value in weekdays),
        either_day=not day and not weekday,
        fixed_time=not minute and not hour,
    )
