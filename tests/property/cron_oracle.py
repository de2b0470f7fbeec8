"""What cron should do, by brute force: walk real time minute by minute and look at the clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import attrs

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

ZONES = """
Africa/Cairo Africa/Casablanca Africa/El_Aaiun Africa/Juba Africa/Khartoum Africa/Sao_Tome
Africa/Tripoli Africa/Windhoek America/Anchorage America/Asuncion America/Caracas America/Chicago
America/Godthab America/Grand_Turk America/Havana America/Los_Angeles America/Mazatlan
America/Mexico_City America/New_York America/Port-au-Prince America/Santiago America/Sao_Paulo
America/Scoresbysund America/St_Johns Antarctica/Casey Antarctica/Troll Asia/Amman Asia/Beirut
Asia/Damascus Asia/Gaza Asia/Jerusalem Asia/Kathmandu Asia/Pyongyang Asia/Tehran Asia/Ulaanbaatar
Atlantic/Azores Australia/Adelaide Australia/Lord_Howe Australia/Sydney Europe/Berlin
Europe/Chisinau Europe/Dublin Europe/Istanbul Europe/Lisbon Europe/London Europe/Moscow
Europe/Volgograd Pacific/Apia Pacific/Auckland Pacific/Bougainville Pacific/Chatham
Pacific/Easter Pacific/Fiji Pacific/Norfolk Pacific/Tongatapu UTC
""".split()  # noqa: SIM905 - 56 names read best as a paragraph


@attrs.frozen(kw_only=True)
class Spec:
    """An expression as text, and the values it names, from a writer that never parses."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    seconds: frozenset[int] = frozenset({0})


def follows_real_time(spec: Spec) -> bool:
    *_, minute, hour, _, _, _ = spec.text.split()
    return minute[0] == "*" or hour[0] == "*"


@attrs.frozen
class Shown:
    """An instant, what the clock shows, what it left out just before, and whether it went back."""

    utc: datetime
    local: datetime
    left_out: tuple[datetime, ...]
    repeated: bool


def walk(zone: str, start: datetime, end: datetime, step: timedelta = MINUTE) -> list[Shown]:
    """Return the instants in [start, end), as someone sees them who begins to watch at `start`.

    What the clock showed since, or a later time, is repeated: begin before it goes back.
    """
    utc = start
    latest = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - step
    instants = []
    while utc < end:
        local = utc.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        left_out = []
        while latest + step < local:
            latest += step
            left_out.append(latest)
        instants.append(Shown(utc, local, tuple(left_out), repeated=local <= latest))
        latest = max(latest, local)
        utc += step
    return instants


def expected(spec: Spec, instants: list[Shown]) -> list[datetime]:
    """Return the ticks among `instants`, by the rules of cron(8) in Debian."""
    matches = matcher(spec)
    if follows_real_time(spec):
        return [shown.utc for shown in instants if matches(shown.local)]
    return [
        shown.utc
        for shown in instants
        if (matches(shown.local) and not shown.repeated) or any(map(matches, shown.left_out))
    ]


def matcher(spec: Spec) -> Callable[[datetime], bool]:
    """Return whether a local time matches, as cron(5) words it."""
    *_, day, _, weekday = spec.text.split()
    needs_both = day[0] == "*" or weekday[0] == "*"

    def matches(local: datetime) -> bool:
        if local.minute not in spec.minutes or local.hour not in spec.hours:
            return False
        in_days = local.day in spec.days
        in_weekdays = local.isoweekday() in spec.weekdays or local.isoweekday() % 7 in spec.weekdays
        in_day = (in_days and in_weekdays) if needs_both else (in_days or in_weekdays)
        return in_day and local.month in spec.months and local.second in spec.seconds

    return matches


@cache
def transitions(zone: str) -> tuple[datetime, ...]:
    """Return the first minute of each new offset from 2015 to 2037, found by looking every day."""
    found = []
    moment, step = datetime(2015, 1, 1, tzinfo=UTC), timedelta(days=1)
    while moment.year < 2038:
        for step in (timedelta(days=1), timedelta(hours=1), MINUTE):
            while _offset(zone, moment + step) == _offset(zone, moment) and moment.year < 2038:
                moment += step
        moment += step
        found.append(moment)
    return tuple(found[:-1])


def _offset(zone: str, moment: datetime) -> timedelta | None:
    return moment.astimezone(ZoneInfo(zone)).utcoffset()


def random_spec(random: Random) -> Spec:
    """Write an expression that passes, with lists, ranges, steps and stars in all fields."""
    while True:
        fields = [
            _random_field(random, low, high, stars)
            for low, high, stars in (
                (0, 59, 0.3),
                (0, 23, 0.4),
                (1, 31, 0.7),
                (1, 12, 0.8),
                (0, 7, 0.7),
            )
        ]
        texts, (minutes, hours, days, months, weekdays) = zip(*fields, strict=True)
        if min(days) <= 28:
            return Spec(
                text=" ".join(texts),
                minutes=minutes,
                hours=hours,
                days=days,
                months=months,
                weekdays=weekdays,
            )


def _random_field(random: Random, low: int, high: int, stars: float) -> tuple[str, frozenset[int]]:
    if random.random() < stars:
        return "*", frozenset(range(low, high + 1))
    items = [_random_item(random, low, high) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    return ",".join(text for text, _ in items), frozenset().union(*(values for _, values in items))


def _random_item(random: Random, low: int, high: int) -> tuple[str, frozenset[int]]:
    first, last = sorted((random.randint(low, high), random.randint(low, high)))
    step = random.randint(1, min(20, high - low + 1))
    match random.choice(("value", "value", "value", "range", "range/step", "*/step", "value/step")):
        case "value":
            return f"{first}", frozenset({first})
        case "range":
            return f"{first}-{last}", frozenset(range(first, last + 1))
        case "range/step":
            return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))
        case "value/step":
            return f"{first}/{step}", frozenset(range(first, high + 1, step))
        case _:
            return f"*/{step}", frozenset(range(low, high + 1, step))


def daily(minute: str, hour: str) -> Spec:
    """Write an expression for every day; a field is `*`, a step like `*/2`, or a list."""
    return Spec(
        text=f"{minute} {hour} * * *",
        minutes=_listed(minute, 60),
        hours=_listed(hour, 24),
        days=frozenset(range(1, 32)),
        months=frozenset(range(1, 13)),
        weekdays=frozenset(range(7)),
    )


def _listed(text: str, end: int) -> frozenset[int]:
    if text.startswith("*"):
        return frozenset(range(0, end, int(text[2:] or 1)))
    return frozenset(map(int, text.split(",")))
