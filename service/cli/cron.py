"""`service cron`, `next` and `verify`: when jobs tick, how it ended, and the proof."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import click
from rich.table import Table

from service.cli.console import add_row, as_json_option, print_json, print_table
from service.cli.facts import counted
from service.cli.jobs import workload_of
from service.cli.times import instant, span
from service.client import Unreachable, ask
from service.core.audit import Difference, audit
from service.core.cronjob import CronJob
from service.core.schedule import Schedule, compile_schedule, next_tick
from service.core.wire import Json, rfc3339
from service.messages import (
    CronDefinition,
    CronMeaning,
    LastTick,
    ListCronDefinitions,
    ReadLastTicks,
    ReadTicks,
)
from service.settings import Settings, read_settings

__all__ = ["changes", "cron", "next_ticks", "upcoming", "verify"]

NEXT_TICKS: Final = 5
PAGE: Final = 5_000


@click.command()
@as_json_option(help="Print a JSON array.")
def cron(*, as_json: bool) -> None:
    """List the cron jobs: how the last tick ended, and the next ones."""
    settings, now = read_settings(os.environ), datetime.now(UTC)
    workload = workload_of(settings)
    try:
        last = ask(settings, ReadLastTicks())
    except Unreachable:
        last = {}  # nothing has ticked yet
    rows = []
    for job in workload.cron_jobs:
        schedule = job.compiled(default_timezone=settings.cron_timezone)
        ahead = list(islice(upcoming(schedule, now), NEXT_TICKS)) if job.enabled else []
        rows.append((job, schedule, last.get(job.id), ahead))
    if as_json:
        print_json([_job_json(*row) for row in rows])
        return
    table = Table(
        "cron job", "runs", "schedule", "last tick (UTC)", "outcome", "next", "next (UTC)"
    )
    for job, schedule, seen, ahead in rows:
        add_row(
            table,
            job.id,
            job.job_id,
            f"{job.schedule}\n{schedule.zone.key}",
            "" if seen is None else rfc3339(seen.record.last),
            "" if seen is None else _outcome(seen),
            "\n".join(_local(tick, schedule) for tick in ahead) or "not enabled",
            "\n".join(str(rfc3339(tick)) for tick in ahead),
        )
    print_table(table)


@click.command("next")
@click.argument("expression")
@click.option("--tz", default="UTC", show_default=True, help="IANA zone of the expression.")
@click.option(
    "--from", "start", type=instant, help="Ticks after it: RFC 3339, in the zone if it names none."
)
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True)
@as_json_option(help="Print a JSON array of instants in UTC.")
def next_ticks(
    expression: str, *, tz: str, start: datetime | None, count: int, as_json: bool
) -> None:
    """Show when a cron EXPRESSION ticks next."""
    try:
        schedule = compile_schedule(expression, tz)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    start = start or datetime.now(UTC)
    after = start if start.tzinfo else start.replace(tzinfo=schedule.zone)
    ahead = list(islice(upcoming(schedule, after.astimezone(UTC)), count))
    if as_json:
        print_json([rfc3339(tick) for tick in ahead])
        return
    table = Table(f"tick ({schedule.zone.key})", "UTC")
    for tick in ahead:
        add_row(table, _local(tick, schedule), rfc3339(tick))
    print_table(table)


@click.command()
@click.option("--since", type=span, default="30d", show_default=True, help="How far to look back.")
@as_json_option(help="Print a JSON object.")
def verify(*, since: timedelta, as_json: bool) -> None:
    """Prove that every tick has exactly one record; exits with 1 if one has not."""
    settings, now = read_settings(os.environ), datetime.now(UTC)
    start = max(now - since, now - timedelta(days=settings.run_retention_days))
    definitions = ask(settings, ListCronDefinitions())
    jobs = len({definition.id for definition in definitions})
    faults = [
        (definition.id, difference)
        for definition in definitions
        for difference in _differences(settings, definition, max(start, definition.since))
    ]
    if as_json:
        differences: list[Json] = [_difference_json(*fault) for fault in faults]
        print_json({"cronJobs": jobs, "since": rfc3339(start), "differences": differences})
    else:
        for cron_id, difference in faults:
            click.echo(f"{cron_id}: {difference}")
        found = counted(len(faults), "difference") if faults else "no differences"
        click.echo(f"{counted(jobs, 'cron job')} since {rfc3339(start)}: {found}")
    if faults:
        sys.exit(1)


def changes(before: tuple[CronDefinition, ...], meant: Mapping[str, CronMeaning]) -> Iterator[str]:
    """Yield what the next start will change in the meaning of cron jobs."""
    known = {definition.id: definition for definition in before if definition.current}
    for cron_id, meaning in meant.items():
        old = known.pop(cron_id, None)
        if old is None:
            yield f"{cron_id}: new"
        elif CronMeaning(old.schedule, old.timezone) != meaning:
            yield f"{cron_id}: was {old.schedule!r} in {old.timezone}; begins anew"
    for cron_id in known:
        yield f"{cron_id}: gone; its history stays"


def upcoming(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield the ticks after an instant, as far as the calendar of Python goes."""
    tick = after
    with suppress(OverflowError):
        while True:
            tick = next_tick(schedule, tick)
            yield tick


def _differences(
    settings: Settings, definition: CronDefinition, since: datetime
) -> Iterator[Difference]:
    """Audit page by page; a page ends where a record does."""
    try:
        schedule = compile_schedule(definition.schedule, definition.timezone)
    except ValueError as error:  # of a release or a tzdata that knew more
        raise click.ClickException(f"{definition.id}: {error}") from None
    while since < definition.watermark:
        records = ask(
            settings,
            ReadTicks(cron_id=definition.id, after=since, until=definition.watermark, limit=PAGE),
        )
        until = definition.watermark if len(records) < PAGE else records[-1].last
        yield from audit(schedule, since, until, records)
        since = until


def _difference_json(cron_id: str, difference: Difference) -> dict[str, Json]:
    return {
        "cronId": cron_id,
        "fault": difference.fault.value,
        "first": rfc3339(difference.first),
        "last": rfc3339(difference.last),
        "expected": difference.expected,
        "recorded": difference.recorded,
    }


def _local(tick: datetime, schedule: Schedule) -> str:
    return tick.astimezone(schedule.zone).isoformat(" ", "seconds")


def _outcome(seen: LastTick) -> str:
    said = str(seen.record.outcome)
    if seen.record.count > 1:
        said += f" ({seen.record.count} ticks)"
    return said if seen.run_status is None else f"{said}: {seen.run_status}"


def _job_json(
    job: CronJob, schedule: Schedule, seen: LastTick | None, ahead: list[datetime]
) -> dict[str, Json]:
    return {
        "id": job.id,
        "jobId": job.job_id,
        "schedule": job.schedule,
        "timezone": schedule.zone.key,
        "lastTick": None if seen is None else rfc3339(seen.record.last),
        "outcome": None if seen is None else seen.record.outcome.value,
        "runId": None if seen is None else seen.run_id,
        "runStatus": None if seen is None or seen.run_status is None else seen.run_status.value,
        "next": [rfc3339(tick) for tick in ahead],
    }
