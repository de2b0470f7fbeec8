"""What a server says about when to come again.

Sources: RFC 9110 section 10.2.3 (Retry-After), and
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["WAIT_MAX_SECONDS", "asked_wait", "is_worth_retrying"]

WAIT_MAX_SECONDS: Final = 3600.0
"""The longest wait that a server is believed; after it, it is asked again."""

SECONDARY_SECONDS: Final = 60.0
"""GitHub's advice for a secondary limit that does not say how long it lasts."""

_OVERLOADED: Final = frozenset({429, 502, 503, 504})
_LIMITED: Final = frozenset({403, 429})
_SECONDARY: Final = b"secondary rate limit"


def is_worth_retrying(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether the same request may do better later; GitHub says so by 403, too."""
    if status in _OVERLOADED:
        return True
    return status in _LIMITED and asked_wait(status, headers, body, now=_EPOCH) is not None


def asked_wait(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> float | None:
    """Return the seconds after which the server wants to be asked again, None if it names none.

    Instants are measured from the server's own `Date`, if it sends one, because clocks differ.
    """
    limited = status in _LIMITED
    wait = None
    if limited or status in _OVERLOADED:
        wait = _retry_after(headers, now)
    if wait is None and (limited or 200 <= status < 300):  # noqa: PLR2004 - what succeeds
        wait = _until_reset(headers, now)
    if wait is None and limited and _SECONDARY in body.lower():
        wait = SECONDARY_SECONDS
    return None if wait is None else min(max(wait, 0.0), WAIT_MAX_SECONDS)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    held = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,18}", held):
        return float(held)
    moment = _date(held)
    return None if moment is None else (moment - (_server_time(headers) or now)).total_seconds()


def _until_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the time until GitHub's limit is renewed, if nothing is left of it."""
    reset = headers.get("x-ratelimit-reset", "").strip()
    if headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    if not re.fullmatch(r"[0-9]{1,18}", reset):
        return None
    return int(reset) - (_server_time(headers) or now).timestamp()


def _server_time(headers: Mapping[str, str]) -> datetime | None:
    return _date(headers.get("date", ""))


def _date(held: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(held)
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever its parser trips over
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
