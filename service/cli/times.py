"""Time as a person types it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

__all__ = ["duration", "instant", "past", "span"]

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9900
_MINUTE: Final = 60
_LONGEST: Final = timedelta(days=36_525)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str) -> timedelta:
    """Read a span such as 90s, 15m, 2h, 7d or 2w. Raises BadParameter for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    read = None if match is None else timedelta(**{_UNITS[match[2]]: int(match[1])})
    if read is None or read > _LONGEST:
        raise click.BadParameter(
            f"{text!r} is not a span such as 90s, 15m, 2h, 7d or 2w, of a hundred years at most"
        )
    return read


def instant(text: str) -> datetime:
    """Read an instant such as 2026-03-28T00:00 or 2026-03-28T00:00:00Z. Raises BadParameter."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise click.BadParameter(
            f"{text!r} is not an instant such as 2026-03-28T00:00 or 2026-03-28T00:00:00Z "
            f"between the years {_FIRST_YEAR} and {_LAST_YEAR}"
        )
    return moment


def past(text: str) -> datetime:
    """Read an instant that has been, or a span before now. Raises BadParameter."""
    now = datetime.now(UTC)
    try:
        moment = now - span(text)
    except click.BadParameter:
        moment = instant(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment > now:
        raise click.BadParameter(f"{text!r} has not been yet")
    return moment


def duration(seconds: float | None) -> str:
    """Write a duration as a person reads it; nothing for none."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
