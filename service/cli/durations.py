"""Spans of time as a person types them."""

import re
from datetime import timedelta
from typing import Final

import click

__all__ = ["span"]

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str) -> timedelta:
    """Read a span such as 90s, 15m, 2h, 7d or 2w. Raises BadParameter for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is not a span such as 90s, 15m, 2h, 7d or 2w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
