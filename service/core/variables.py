"""What an environment variable may hold: a parser for each kind, and the words that say so."""

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import attrs

__all__ = [
    "Kind",
    "Secret",
    "boolean",
    "choice",
    "dsn",
    "endpoint",
    "file",
    "number",
    "socket",
    "text",
    "timezone",
    "token",
    "whole",
]

T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=StrEnum)
N = TypeVar("N", int, float)


class Secret:
    """A text that shows itself to nobody who does not ask by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself: to compare or to send, never to log."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"


@attrs.frozen
class Kind(Generic[T_co]):
    """A kind of value; `parse` raises ValueError for what `accepts` does not describe."""

    parse: Callable[[str], T_co]
    accepts: str
    secret: bool = False


def whole(minimum: int, maximum: int) -> Kind[int]:
    """Return the whole numbers of a range, both ends included."""

    def parse(held: str) -> int:
        return _within(int(_matching(r"[0-9]{1,18}", held)), minimum, maximum)

    return Kind(parse, f"a whole number from {minimum} to {maximum}")


def number(minimum: float, maximum: float) -> Kind[float]:
    """Return the decimal numbers of a range, both ends included."""

    def parse(held: str) -> float:
        return _within(float(_matching(r"[0-9]{1,18}(\.[0-9]{1,18})?", held)), minimum, maximum)

    return Kind(parse, f"a number from {minimum:g} to {maximum:.12g}")


def choice(values: type[E]) -> Kind[E]:
    """Return the members of an enumeration, in any case."""
    return Kind(lambda held: values(held.lower()), "one of " + ", ".join(values))


def boolean() -> Kind[bool]:
    """Return true and false, in any case."""
    return Kind(lambda held: _matching("true|false", held.lower()) == "true", "true or false")


def text(pattern: str, accepts: str) -> Kind[str]:
    """Return the texts that match a pattern as a whole."""
    return Kind(lambda held: _matching(pattern, held), accepts)


def timezone() -> Kind[str]:
    """Return the names of time zones that this machine knows."""

    def parse(held: str) -> str:
        try:
            return ZoneInfo(held).key
        except (LookupError, OSError) as error:  # OSError: a folder of zones, such as "America"
            raise ValueError(held) from error

    return Kind(parse, "an IANA time zone such as UTC or Europe/Berlin")


def file() -> Kind[Path]:
    """Return the paths that name a file, also to SQLite, for which some names do not."""

    def parse(held: str) -> Path:
        path = Path(_matching(r"(?!:memory:|file:)[^\0]+", _in_utf8(held)))
        if not path.name:
            raise ValueError(held)
        return path

    accepts = "the path of a file in UTF-8 (to keep nothing on disk, set RUN_STORE=memory)"
    return Kind(parse, accepts)


def socket() -> Kind[Path]:
    """Return the paths that may name a Unix socket."""
    return Kind(
        lambda held: Path(_matching(r"[^\0]+", _in_utf8(held))),
        "the path of a Unix socket in UTF-8",
    )


def endpoint() -> Kind[str]:
    """Return the HTTP addresses without credentials: an address is shown, so it holds none."""

    def parse(held: str) -> str:
        url = urlsplit(_matching(r"[!-?A-~]+", held))
        if url.scheme not in {"http", "https"} or not url.hostname or url.port == 0:
            raise ValueError(held)
        return held

    return Kind(parse, "an http:// or https:// address without a user and password")


def token() -> Kind[Secret]:
    """Return the secrets that an HTTP header can carry (RFC 9110 section 5.5)."""

    def parse(held: str) -> Secret:
        return Secret(_matching(r"(?!\s)[^\x00-\x1f\x7f]+(?<!\s)", _in_utf8(held)))

    accepts = "text in UTF-8 without control characters, and without space around it"
    return Kind(parse, accepts, secret=True)


def dsn() -> Kind[Secret]:
    """Return the addresses of Sentry projects."""

    def parse(held: str) -> Secret:
        url = urlsplit(_matching(r"[!-~]+", held))
        project = url.path.rpartition("/")[2]
        known = url.username and url.hostname and project and url.port != 0  # port: or ValueError
        if url.scheme not in {"http", "https"} or not known:
            raise ValueError(held)
        return Secret(held)

    return Kind(parse, "a DSN of the form https://KEY@HOST/PROJECT", secret=True)


def _in_utf8(held: str) -> str:
    held.encode()  # a lone surrogate stands for a byte that was not UTF-8
    return held


def _matching(pattern: str, held: str) -> str:
    if not re.fullmatch(pattern, held):
        raise ValueError(held)
    return held


def _within(value: N, minimum: N, maximum: N) -> N:
    if not minimum <= value <= maximum:
        raise ValueError(value)
    return value
