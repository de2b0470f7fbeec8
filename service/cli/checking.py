"""`service check`: what the service would do, and whether it could."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from service.cli.console import print_table
from service.cli.cron import changes, upcoming
from service.client import Unreachable, ask
from service.core.errors import StoreOutdated
from service.core.schedule import Schedule
from service.core.wire import rfc3339
from service.messages import CronMeaning, ListCronDefinitions
from service.settings import Effective, Settings, effective, read_settings
from service.tasks.loading import Workload, load

__all__ = ["check"]

NEXT_TICKS: Final = 3


@click.command()
@click.option("--telemetry", is_flag=True, help="Send a test span, metric and error too.")
def check(*, telemetry: bool) -> None:
    """Show the settings in force, the tasks, and the cron jobs with their next ticks.

    Exits with 78 and a line for each fault if the service would refuse to start, with 1 if
    telemetry that is to be sent does not arrive.
    """
    settings = read_settings(os.environ)
    sys.path.insert(0, str(Path.cwd()))  # as the service does
    workload = load(settings.jobs_module, settings.cron_timezone)
    print_table(_settings_table(effective(settings, os.environ)))
    print_table(_tasks_table(workload))
    print_table(_cron_table(workload, settings.cron_timezone, datetime.now(UTC)))
    _print_changes(settings, workload)
    if telemetry and not _telemetry_arrives(settings):
        sys.exit(1)


def _telemetry_arrives(settings: Settings) -> bool:
    from service.observability.probe import probe_telemetry  # noqa: PLC0415 - slow to load

    table = Table("signal", "sent to", "result", title="Telemetry")
    probes = list(probe_telemetry(settings))
    for probe in probes:
        table.add_row(probe.signal, probe.endpoint or "-", probe.fault or "arrived")
    print_table(table)
    return all(probe.fault is None for probe in probes if probe.endpoint is not None)


def _settings_table(rows: list[Effective]) -> Table:
    table = Table("variable", "value", "from", title="Settings")
    for row in rows:
        table.add_row(row.name, row.value, row.source)
    return table


def _tasks_table(workload: Workload) -> Table:
    table = Table("jobId", "timeout", "retries", "limits", "defined at", title="Tasks")
    for task in workload.tasks.values():
        timeout = "default" if task.timeout is None else f"{task.timeout:g} s"
        table.add_row(task.id, timeout, str(task.retries), str(task.limits), task.place)
    return table


def _cron_table(workload: Workload, default_timezone: str, now: datetime) -> Table:
    table = Table("cron job", "runs", "schedule", "timezone", "next ticks (UTC)", title="Cron jobs")
    for job in workload.cron_jobs:
        schedule = job.compiled(default_timezone=default_timezone)
        upcoming = "\n".join(_next_ticks(schedule, now)) if job.enabled else "not enabled"
        table.add_row(job.id, job.job_id, job.schedule, schedule.zone.key, upcoming)
    return table


def _next_ticks(schedule: Schedule, now: datetime) -> Iterator[str]:
    for tick in islice(upcoming(schedule, now), NEXT_TICKS):
        yield str(rfc3339(tick))


def _print_changes(settings: Settings, workload: Workload) -> None:
    """Say what the next start will change; nothing where there has been no start yet."""
    try:
        before = ask(settings, ListCronDefinitions())
    except Unreachable:
        return
    except StoreOutdated as error:
        click.echo(f"changed since the last start: not known; {error}")
        return
    meant = {
        job.id: CronMeaning(job.schedule, job.timezone or settings.cron_timezone)
        for job in workload.cron_jobs
    }
    for line in changes(before, meant):
        click.echo(f"changed since the last start: {line}")
