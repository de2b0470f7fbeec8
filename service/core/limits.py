"""What a job may take of the runners: how many at once, before whom, and how often."""

import re
import sys
from typing import Final, Self

import attrs

__all__ = ["UNLIMITED", "Limits", "Rate"]

_CONCURRENCY_MAX: Final = 1_000_000
_PRIORITY_MAX: Final = 1_000
_RATE_MAX: Final = 10_000
_UNITS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
_RATE: Final = re.compile(rf"([0-9]{{1,9}})/({'|'.join(_UNITS)})", re.ASCII)


@attrs.frozen
class Rate:
    """At most `count` attempts begin within any `seconds`."""

    count: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read what an author writes, such as "30/minute".

        Raises ValueError, which says what is accepted.
        """
        written = _RATE.fullmatch(text) if isinstance(text, str) else None
        if written is None or not 1 <= int(written[1]) <= _RATE_MAX:
            raise ValueError(
                f'rate: {text!r} is not a rate such as "30/minute": a count from 1 to '
                f"{_RATE_MAX:,}, per {', '.join(_UNITS)}"
            )
        return cls(int(written[1]), _UNITS[written[2]])

    def __str__(self) -> str:
        [unit] = [unit for unit, seconds in _UNITS.items() if seconds == self.seconds]
        return f"{self.count}/{unit}"


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of one job; what exceeds them waits in the store, in order.

    Raises ValueError, which names the limit, what it held and what it may hold.
    """

    max_concurrency: int | None = None
    """How many of its runs may be running at once; None for as many as there are runners."""
    priority: int = 0
    """Due runs of a higher priority begin before those of a lower one, always."""
    rate: Rate | None = None

    def __attrs_post_init__(self) -> None:
        if self.max_concurrency is not None:
            _check("max_concurrency", self.max_concurrency, 1, _CONCURRENCY_MAX)
        _check("priority", self.priority, -_PRIORITY_MAX, _PRIORITY_MAX)

    def __str__(self) -> str:
        said = [
            f"at most {self.max_concurrency}" if self.max_concurrency is not None else "",
            f"priority {self.priority}" if self.priority else "",
            str(self.rate or ""),
        ]
        return ", ".join(filter(None, said)) or "none"

    def room(self, running: int) -> int:
        """Return how many more runs may begin while `running` are at work."""
        return sys.maxsize if self.max_concurrency is None else self.max_concurrency - running


def _check(option: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{option}: {value!r} is not a whole number from {least:,} to {most:,}")


UNLIMITED: Final = Limits()
