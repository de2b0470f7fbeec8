"""`service check`: what the service would do, and whether it could."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
import click
from rich.table import Table

from service.cli.console import add_row, as_json_option, print_json, print_table
from service.cli.cron import changes, upcoming
from service.cli.jobs import workload_of
from service.client import NoService, Unreachable, ask, ask_service
from service.core.cronjob import CronJob
from service.core.errors import ConfigError, StoreOutdated, StoreRefused
from service.core.wire import Json, rfc3339
from service.messages import CronMeaning, ListCronDefinitions, ListTasks
from service.protocol import Refusal
from service.settings import Effective, Settings, effective, read_settings
from service.tasks.loading import Workload
from service.tasks.task import Task

if TYPE_CHECKING:
    from service.observability.probe import Probed

__all__ = ["check"]

NEXT_TICKS: Final = 3

T = TypeVar("T")


@attrs.frozen
class _PlannedJob:
    """A cron job, the name of its zone, and when it ticks next: never, if it is not enabled."""

    job: CronJob
    zone: str
    ahead: Sequence[str]


@attrs.define
class _Report:
    """What was found, as far as it was found before a fault; None is what nobody can know."""

    settings: Sequence[Effective] | None = None
    tasks: Sequence[Task] | None = None
    cron_jobs: Sequence[_PlannedJob] | None = None
    changes: Sequence[str] | None = None
    upgrade: str | None = None
    """Why the next start changes the schema of the store."""
    telemetry: "Sequence[Probed] | None" = None
    fault: ConfigError | StoreRefused | None = None


@click.command()
@click.option("--telemetry", is_flag=True, help="Send a test span, metric and error too.")
@as_json_option(help="Print a JSON object, also of faults.")
def check(*, telemetry: bool, as_json: bool) -> None:
    """Show the settings in force, the tasks, and the cron jobs with their next ticks.

    Exits with 78 and a line for each fault of these, or when HOST and PORT cannot be listened on
    and are not those of the running service, with 74 if the database would be refused,
    with 1 if telemetry that is to be sent does not arrive.
    """
    report = _Report()
    try:
        _look(report, os.environ, telemetry=telemetry)
    except (ConfigError, StoreRefused) as error:
        report.fault = error
    if as_json:
        print_json(_report_json(report))
    else:
        _print(report)
    if report.fault is not None:
        raise report.fault
    if any(probe.fault and probe.endpoint for probe in report.telemetry or ()):
        sys.exit(1)


def _look(report: _Report, environ: Mapping[str, str], *, telemetry: bool) -> None:
    """Fill the report. Raises ConfigError or StoreRefused at the first fault."""
    settings = read_settings(environ)
    report.settings = effective(settings, environ)
    workload = workload_of(settings)
    report.tasks = list(workload.tasks.values())
    now = datetime.now(UTC)
    report.cron_jobs = [_planned(job, settings, now) for job in workload.cron_jobs]
    try:
        report.changes = _changes(settings, workload)
    except StoreOutdated as error:
        report.upgrade = str(error)
    _demand_port(settings)
    if telemetry:
        from service.observability.probe import probe_telemetry  # noqa: PLC0415 - slow to load

        report.telemetry = list(probe_telemetry(settings))


def _demand_port(settings: Settings) -> None:
    """Raise ConfigError when the service could not listen, unless it runs: then it does."""
    try:
        ask_service(settings, ListTasks())
    except NoService:
        from service.serving import listen  # noqa: PLC0415 - slow to load

        listen(settings.host, settings.port).close()
    except (Refusal, Unreachable):
        pass  # it runs all the same, and may hold the port


def _planned(job: CronJob, settings: Settings, now: datetime) -> _PlannedJob:
    schedule = job.compiled(default_timezone=settings.cron_timezone)
    ahead = islice(upcoming(schedule, now), NEXT_TICKS if job.enabled else 0)
    return _PlannedJob(job, schedule.zone.key, [str(rfc3339(tick)) for tick in ahead])


def _changes(settings: Settings, workload: Workload) -> list[str] | None:
    """Say what the next start will change; None where there has been no start yet."""
    try:
        before = ask(settings, ListCronDefinitions())
    except Unreachable:
        return None
    meant = {
        job.id: CronMeaning(job.schedule, job.timezone or settings.cron_timezone)
        for job in workload.cron_jobs
    }
    return list(changes(before, meant))


def _print(report: _Report) -> None:
    """Print tables, as far as the report goes."""
    if report.settings is not None:
        print_table(_settings_table(report.settings))
    if report.tasks is not None:
        print_table(_tasks_table(report.tasks))
    if report.cron_jobs is not None:
        print_table(_cron_table(report.cron_jobs))
    for line in report.changes or ():
        click.echo(f"changed since the last start: {line}")
    if report.upgrade is not None:
        click.echo(f"changed since the last start: not known; {report.upgrade}")
    if report.telemetry is not None:
        print_table(_telemetry_table(report.telemetry))


def _settings_table(rows: Sequence[Effective]) -> Table:
    table = Table("variable", "value", "from", title="Settings")
    for row in rows:
        add_row(table, row.name, row.value, row.source)
    return table


def _tasks_table(tasks: Sequence[Task]) -> Table:
    table = Table("jobId", "timeout", "retries", "limits", "defined at", title="Tasks")
    for task in tasks:
        timeout = "default" if task.timeout is None else f"{task.timeout:g} s"
        add_row(table, task.id, timeout, str(task.retries), str(task.limits), task.place)
    return table


def _cron_table(cron_jobs: Sequence[_PlannedJob]) -> Table:
    table = Table("cron job", "runs", "schedule", "timezone", "next ticks (UTC)", title="Cron jobs")
    for planned in cron_jobs:
        job, ahead = planned.job, "\n".join(planned.ahead) or "not enabled"
        add_row(table, job.id, job.job_id, job.schedule, planned.zone, ahead)
    return table


def _telemetry_table(probes: "Sequence[Probed]") -> Table:
    table = Table("signal", "sent to", "result", title="Telemetry")
    for probe in probes:
        arrived = f"arrived; warns: {probe.warning}" if probe.warning else "arrived"
        add_row(table, probe.signal, probe.endpoint or "-", probe.fault or arrived)
    return table


def _report_json(report: _Report) -> dict[str, Json]:
    """Return the report as programs get it; secrets are no more in it than in the tables."""
    return {
        "settings": _listed(report.settings, _setting_json),
        "tasks": _listed(report.tasks, _task_json),
        "cronJobs": _listed(report.cron_jobs, _cron_json),
        "changes": None if report.changes is None else list(report.changes),
        "upgrade": report.upgrade,
        "telemetry": _listed(report.telemetry, _probe_json),
        "faults": [] if report.fault is None else list(str(report.fault).splitlines()),
    }


def _listed(rows: Sequence[T] | None, as_json: Callable[[T], Json]) -> Json:
    return None if rows is None else [as_json(row) for row in rows]


def _setting_json(row: Effective) -> Json:
    return {"name": row.name, "value": row.value, "source": row.source}


def _task_json(task: Task) -> Json:
    return {
        "id": task.id,
        "timeoutSeconds": task.timeout,
        "retries": task.retries,
        "maxConcurrency": task.limits.max_concurrency,
        "priority": task.limits.priority,
        "rate": None if task.limits.rate is None else str(task.limits.rate),
        "definedAt": task.place,
    }


def _cron_json(planned: _PlannedJob) -> Json:
    return {
        "id": planned.job.id,
        "jobId": planned.job.job_id,
        "schedule": planned.job.schedule,
        "timezone": planned.zone,
        "enabled": planned.job.enabled,
        "next": list(planned.ahead),
    }


def _probe_json(probe: "Probed") -> Json:
    return {
        "signal": probe.signal,
        "sentTo": probe.endpoint,
        "arrived": probe.fault is None,
        "reason": probe.fault or probe.warning,
    }
