"""What servers say about coming again is understood, within bounds, and never breaks us."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.throttling import WAIT_MAX_SECONDS, asked_wait, is_worth_retrying

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
IN_A_MINUTE = "Wed, 04 Mar 2026 12:01:00 GMT"
EPOCH_NOW = int(NOW.timestamp())


def wait(status: int, body: bytes = b"", **headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked_wait(status, named, body, now=NOW)


@pytest.mark.parametrize("status", [403, 429, 502, 503, 504])
def test_retry_after_is_seconds_or_a_date(status: int) -> None:
    """RFC 9110 has both forms."""
    assert wait(status, retry_after="60") == 60
    assert wait(status, retry_after=IN_A_MINUTE) == 60
    assert wait(status, retry_after="Wednesday, 04-Mar-26 12:01:00 GMT") == 60


def test_a_date_is_measured_by_the_servers_clock() -> None:
    """A server whose clock is wrong still means a minute."""
    wrong = "Wed, 04 Mar 2026 14:00:30 GMT"
    assert wait(429, retry_after="Wed, 04 Mar 2026 14:01:00 GMT", date=wrong) == 30


def test_githubs_limit_lasts_until_its_reset() -> None:
    """With nothing remaining, the reset says when; with something remaining, nobody waits."""
    reset = str(EPOCH_NOW + 90)
    for status in (200, 403, 429):
        assert wait(status, x_ratelimit_remaining="0", x_ratelimit_reset=reset) == 90
        assert wait(status, x_ratelimit_remaining="1", x_ratelimit_reset=reset) is None


def test_a_secondary_limit_without_a_time_is_a_minute() -> None:
    """GitHub's advice, when neither header says more."""
    assert wait(403, b'{"message": "You have exceeded a secondary rate limit."}') == 60
    assert wait(403, b'{"message": "Must have admin rights"}') is None


@pytest.mark.parametrize("value", ["36000", "9" * 18, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_long_wait_is_believed_for_an_hour(value: str) -> None:
    """A server that wants ten hours is asked again after one."""
    assert wait(429, retry_after=value) == WAIT_MAX_SECONDS


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "9" * 40, "1.5", "٣", "12 parsecs"])
def test_what_is_no_time_says_nothing(value: str) -> None:
    """Nonsense falls back to the usual backoff."""
    assert wait(503, retry_after=value) is None


def test_a_time_in_the_past_is_no_wait() -> None:
    """Old news make nobody wait."""
    assert wait(429, retry_after="Wed, 04 Mar 2026 11:00:00 GMT") == 0
    assert wait(403, x_ratelimit_remaining="0", x_ratelimit_reset="5") == 0


@pytest.mark.parametrize(
    ("status", "again"),
    [(200, False), (404, False), (401, False), (500, False), (501, False), (403, False)]
    + [(status, True) for status in (429, 502, 503, 504)],
)
def test_only_what_passes_is_worth_retrying(status: int, again: bool) -> None:  # noqa: FBT001
    """Overload passes; being wrong does not."""
    assert is_worth_retrying(status, {}, b"") is again


def test_githubs_403_for_its_limits_is_worth_retrying() -> None:
    """It is told from a plain 403 by its headers, or its words."""
    assert is_worth_retrying(403, {"retry-after": "5"}, b"")
    limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"}
    assert is_worth_retrying(403, limit, b"")
    assert is_worth_retrying(403, {}, b"You have exceeded a secondary rate limit")


HEADERS = st.sampled_from(
    ["retry-after", "date", "x-ratelimit-remaining", "x-ratelimit-reset"],
)


@given(
    st.integers(100, 999),
    st.dictionaries(HEADERS, st.one_of(st.text(max_size=30), st.just("0"), st.just(IN_A_MINUTE))),
    st.binary(max_size=40),
)
def test_nothing_a_server_says_breaks_us(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever the headers hold, the wait is none or within bounds."""
    found = asked_wait(status, headers, body, now=NOW)
    assert found is None or 0 <= found <= WAIT_MAX_SECONDS
    assert isinstance(is_worth_retrying(status, headers, body), bool)
