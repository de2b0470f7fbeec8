"""Ticks on the nights when clocks change, and other days that are easily got wrong."""

from datetime import UTC, datetime, timedelta

import pytest

from service.core.schedule import compile_schedule, count_ticks, next_tick, ticks


def local_ticks(text: str, zone: str, start: str, days: int = 2) -> list[str]:
    """Return the ticks as local times, of the days that begin at `start`, local time too."""
    schedule = compile_schedule(text, zone)
    after = datetime.fromisoformat(start).replace(tzinfo=schedule.zone).astimezone(UTC)
    found = ticks(schedule, after - timedelta(seconds=1), after + timedelta(days=days))
    return [tick.astimezone(schedule.zone).strftime("%d %H:%M%z") for tick in found]


@pytest.mark.parametrize(
    ("text", "zone", "start", "expected"),
    [
        # A fixed time in the gap runs once, at its end.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29", "29 03:00+0200, 30 02:30+0200"),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-29",
            "29 03:00+0200, 30 02:00+0200, 30 02:30+0200",
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29",
            "29 03:00+0200, 30 02:00+0200, 30 03:00+0200",
        ),
        # A fixed time in the repeated hour runs once, the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25", "25 02:30+0200, 26 02:30+0100"),
        # A star follows real time: nothing in the gap, both in the repeated hour.
        ("*/30 2 * * *", "Europe/Berlin", "2026-03-29", "30 02:00+0200, 30 02:30+0200"),
        ("30 */2 29 * *", "Europe/Berlin", "2026-03-29T01:00", "29 04:30+0200, 29 06:30+0200"),
        (
            "*/30 2 25 * *",
            "Europe/Berlin",
            "2026-10-25",
            "25 02:00+0200, 25 02:30+0200, 25 02:00+0100, 25 02:30+0100",
        ),
        # Half an hour.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "04 02:30+1100, 05 02:15+1100"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "05 01:45+1100, 06 01:45+1030"),
        # Midnight is left out, and midnight comes twice.
        ("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00", "24 01:00+0300, 25 00:00+0300"),
        ("0 0 * * *", "America/Havana", "2026-03-07T12:00", "08 01:00-0400, 09 00:00-0400"),
        ("30 0 * * *", "America/Havana", "2026-10-31T12:00", "01 00:30-0400, 02 00:30-0500"),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", "04 01:00-0200, 05 00:00-0200"),
        # A whole day is left out.
        ("0 9 * * *", "Pacific/Apia", "2011-12-29", "29 09:00-1000, 31 00:00+1400, 31 09:00+1400"),
        ("0 9 30 * *", "Pacific/Apia", "2011-12-29", "31 00:00+1400"),
        (
            "0 */12 * * *",
            "Pacific/Apia",
            "2011-12-29T12:00",
            "29 12:00-1000, 31 00:00+1400, 31 12:00+1400",
        ),
        # Standard time in summer (Dublin), and summer time that pauses for Ramadan (Casablanca).
        ("30 1 * * *", "Europe/Dublin", "2026-03-29", "29 02:00+0100, 30 01:30+0100"),
        ("30 1 * * *", "Europe/Dublin", "2026-10-25", "25 01:30+0100, 26 01:30+0000"),
        ("30 2 * * *", "Africa/Casablanca", "2026-02-15", "15 02:30+0100, 16 02:30+0000"),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-22", "22 03:00+0100, 23 02:30+0100"),
        # No change of clocks, but a quarter of an hour from everybody else.
        ("0 12 * * *", "Asia/Kathmandu", "2026-03-29", "29 12:00+0545, 30 12:00+0545"),
    ],
)
def test_a_night_that_cron_must_get_right(text: str, zone: str, start: str, expected: str) -> None:
    """On nights when clocks change, ticks follow Debian cron's rules."""
    assert ", ".join(local_ticks(text, zone, start)).startswith(expected)


@pytest.mark.parametrize("minute", range(0, 120, 10))
def test_a_restart_in_the_repeated_hour_repeats_nothing(minute: int) -> None:
    """Wherever in the repeated hour the question begins, what ran the first time is over."""
    schedule = compile_schedule("0,30 2 * * *", "Europe/Berlin")
    twice = datetime(2026, 10, 25, 0, tzinfo=UTC)  # 02:00, and an hour later 02:00 again
    after = twice + timedelta(minutes=minute)
    found = list(ticks(schedule, after, twice + timedelta(hours=3)))
    assert found == ([twice + timedelta(minutes=30)] if minute < 30 else [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0 13 * 5", ["02", "09", "13", "16", "23", "30"]),
        ("0 0 */10 * 5", []),
        ("0 0 */3 * fri", ["16"]),
        ("0 0 13 * *", ["13"]),
        ("0 0 * * 5", ["02", "09", "16", "23", "30"]),
    ],
)
def test_the_two_day_fields(text: str, expected: list[str]) -> None:
    """Either day is enough, but where one of the fields starts with a star both must match."""
    found = local_ticks(text, "UTC", "2026-01-01", days=30)
    assert [tick.split()[0] for tick in found] == expected


def test_leap_days() -> None:
    """The rarest expression, a weekday that is 29 February, is found across the year 2100."""
    schedule = compile_schedule("0 0 29 2 */7", "Europe/Berlin")
    after = datetime(2088, 3, 1, tzinfo=UTC)
    assert next_tick(schedule, after) == datetime(2128, 2, 28, 23, tzinfo=UTC)


def test_seconds_come_first() -> None:
    """Six fields begin with the second."""
    schedule = compile_schedule("10,50 30 2 * * *", "UTC")
    after = datetime(2026, 1, 1, 2, 30, 10, tzinfo=UTC)
    assert next_tick(schedule, after) == datetime(2026, 1, 1, 2, 30, 50, tzinfo=UTC)


def test_a_window_excludes_its_start_and_includes_its_end() -> None:
    """A tick belongs to the window that ends with it; parts of a second make no difference."""
    schedule = compile_schedule("* * * * *", "UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
    assert [tick.minute for tick in ticks(schedule, start, end)] == [1, 2]
    moment = timedelta(microseconds=1)
    assert [tick.minute for tick in ticks(schedule, start - moment, end - moment)] == [0, 1]


def test_ages_of_seconds_are_counted_not_listed() -> None:
    """Every second of a hundred years is counted at once, clock changes included."""
    schedule = compile_schedule("* * * * * *", "Europe/Berlin")
    start = datetime(1980, 1, 1, tzinfo=UTC)
    end = datetime(2080, 1, 1, tzinfo=UTC)
    assert count_ticks(schedule, start, end) == (end - start).total_seconds()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "America", "", "../UTC", "UTC\0", "x" * 5_000])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    """Whatever is no zone is refused by name."""
    with pytest.raises(ValueError, match="is not an IANA time zone such as Europe/Berlin"):
        compile_schedule("@daily", zone)


def test_an_instant_without_a_zone_is_refused() -> None:
    """Guessing the zone of a plain instant would lose ticks."""
    schedule = compile_schedule("@daily", "UTC")
    with pytest.raises(ValueError, match="has no time zone"):
        next_tick(schedule, datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused
