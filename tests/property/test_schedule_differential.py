"""Ticks against a brute-force walk through real time, and against cronsim."""

import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from zoneinfo import ZoneInfo

import attrs
import pytest
from cronsim import CronSim

from service.core.schedule import Schedule, compile_schedule, ticks
from tests.property.cron_oracle import (
    MINUTE,
    SECOND,
    ZONES,
    Shown,
    Spec,
    daily,
    expected,
    follows_real_time,
    random_spec,
    transitions,
    walk,
)

HOUR = timedelta(hours=1)
EXPRESSIONS = 20_000
NIGHTS = 400


def ticks_among(schedule: Schedule, instants: list[Shown]) -> list[datetime]:
    return list(ticks(schedule, instants[0].utc - SECOND, instants[-1].utc))


def random_night(random: Random, zone: str) -> list[Shown]:
    change = random.choice(transitions(zone) or (datetime(2026, 1, 1, tzinfo=UTC),))
    start = change - random.randint(1, 240) * MINUTE
    return walk(zone, start, start + 4 * HOUR)


def test_random_expressions_tick_as_brute_force_and_cronsim_say() -> None:
    """20,000 expressions near a clock change differ from cronsim only where it is known to err."""
    random = Random(2015)
    nights = [(zone, random_night(random, zone)) for zone in ZONES * (NIGHTS // len(ZONES))]
    for _ in range(EXPRESSIONS):
        spec, (zone, minutes) = random_spec(random), random.choice(nights)
        schedule = compile_schedule(spec.text, zone)
        assert ticks_among(schedule, minutes) == expected(spec, minutes), (spec.text, zone)
        start = minutes[0].utc - MINUTE
        ours = list(islice(ticks(schedule, start, start + timedelta(days=15_000)), 3))
        simulated = CronSim(spec.text, start.astimezone(ZoneInfo(zone)))
        theirs = [tick.astimezone(UTC) for tick in islice(simulated, 3)]
        if ours != theirs:
            where = min({*ours} ^ {*theirs})
            assert cronsim_errs(spec, zone, where), (spec.text, zone, where)
            right = expected(spec, walk(zone, where, where + MINUTE)) if where > start else []
            assert (where in ours) == bool(right), (spec.text, zone, where)


def cronsim_errs(spec: Spec, zone: str, where: datetime) -> bool:
    """Return whether cronsim is known to err here.

    It reads `6-6/5` as `6/5`. It moves jobs that follow real time by whole hours, and to midnight,
    in real time: so where clocks change by a part of an hour, not on the hour, or at midnight, it
    loses its way, and may even go back.
    """
    if re.search(r"\b(\d+)-\1/", spec.text):
        return True
    changes = [change for change in transitions(zone) if abs(change - where) < 24 * HOUR]
    return follows_real_time(spec) and any(is_odd(zone, change) for change in changes)


def is_odd(zone: str, change: datetime) -> bool:
    before = (change - MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None) + MINUTE
    after = change.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return before.minute != 0 or (after - before) % HOUR != 0 * HOUR or before.hour == 0


@pytest.mark.parametrize("zone", ZONES)
def test_every_clock_change_until_2037(zone: str) -> None:
    """On each night of a clock change, the jobs that it can hurt tick as brute force says."""
    for change in transitions(zone):
        before = (change - MINUTE).astimezone(ZoneInfo(zone))
        minutes = walk(zone, change - 2 * HOUR, change + 4 * HOUR)
        first, second, third = before.hour, (before.hour + 1) % 24, (before.hour + 2) % 24
        for spec in (
            daily("*/10", f"{first}"),
            daily("30", "*/2"),
            daily("15", "*"),
            daily("0", "0"),
            daily("59", "23"),
            *(
                daily(minute, hour)
                for minute in ("0", "30", "5,10,45,50")
                for hour in (f"{first}", f"{second}", f"{first},{second},{third}")
            ),
        ):
            schedule = compile_schedule(spec.text, zone)
            assert ticks_among(schedule, minutes) == expected(spec, minutes), (spec.text, change)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_six_fields_follow_the_same_rules(zone: str) -> None:
    """With seconds first, ticks are what brute force finds when it walks second by second."""
    random = Random(6)
    for change in (transitions(zone) or (datetime(2026, 1, 1, tzinfo=UTC),))[:4]:
        instants = walk(zone, change - HOUR, change + HOUR + MINUTE, SECOND)
        hour = change.astimezone(ZoneInfo(zone)).hour
        specs = [random_spec(random) for _ in range(20)]
        specs += [daily("*", f"{hour}"), daily("0,30", f"{hour},{(hour - 1) % 24}")]
        for minute_spec in specs:
            seconds = frozenset(random.sample(range(60), 3))
            spec = attrs.evolve(
                minute_spec,
                text=f"{','.join(map(str, seconds))} {minute_spec.text}",
                seconds=seconds,
            )
            schedule = compile_schedule(spec.text, zone)
            assert ticks_among(schedule, instants) == expected(spec, instants), (spec.text, change)
