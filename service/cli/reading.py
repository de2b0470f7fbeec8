"""`service runs` and `service show`: tables for a person, JSON for a program."""

import os
from datetime import UTC, datetime, timedelta
from typing import Final

import click
from rich.table import Table

from service.cli.console import as_json_option, pretty, print_json, print_table
from service.cli.finding import no_run, whole_id
from service.cli.times import span
from service.client import ask
from service.core.run import Run, Status, Trigger
from service.core.wire import Json, decode, rfc3339
from service.messages import GetRun, ListRuns, RunFilter
from service.settings import Settings, read_settings

__all__ = ["print_run", "run_json", "runs", "show"]

_SHORT_MAX: Final = 60


def _words(choices: type[Status | Trigger]) -> list[str]:
    return [choice.value for choice in choices]  # click would take the names


@click.command()
@click.option("--job-id", help="Only runs of this task.")
@click.option("--status", type=click.Choice(_words(Status)), help="Only runs that stand so.")
@click.option("--trigger", type=click.Choice(_words(Trigger)), help="Only runs asked for so.")
@click.option("--since", type=span, help="Only runs created since, such as 90s, 2h or 7d ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@as_json_option(help="Print a JSON array.")
def runs(  # noqa: PLR0913 - one parameter an option
    *,
    job_id: str | None,
    status: str | None,
    trigger: str | None,
    since: timedelta | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    wanted = RunFilter(
        job_id=job_id,
        status=None if status is None else Status(status),
        trigger=None if trigger is None else Trigger(trigger),
        since=None if since is None else datetime.now(UTC) - since,
        limit=limit,
    )
    found = ask(read_settings(os.environ), ListRuns(wanted))
    if as_json:
        print_json([run_json(run) for run in found])
        return
    table = Table("run", "jobId", "status", "trigger", "attempt", "created (UTC)", "result")
    for run in found:
        table.add_row(
            run.id,
            run.job_id,
            run.status,
            run.trigger,
            f"{run.attempt}/{run.max_attempts}",
            rfc3339(run.created_at),
            _shortened(run.result),
        )
    print_table(table)


@click.command()
@click.argument("run_id", metavar="RUN")
@as_json_option(help="Print a JSON object.")
def show(run_id: str, *, as_json: bool) -> None:
    """Show one RUN, by its id or by the beginning of its id."""
    settings = read_settings(os.environ)
    print_run(settings, whole_id(settings, run_id), as_json=as_json)


def print_run(settings: Settings, run_id: str, *, as_json: bool) -> None:
    """Print a run. Raises ClickException if there is none of that id."""
    run = ask(settings, GetRun(run_id))
    if run is None:
        raise no_run(run_id)
    if as_json:
        print_json(run_json(run))
        return
    table = Table(show_header=False)
    for name, value in run_json(run).items():
        table.add_row(name, value if isinstance(value, str) else pretty(value))
    print_table(table)


def run_json(run: Run) -> dict[str, Json]:
    """Return a run as programs get it: instants in RFC 3339 and UTC."""
    return {
        "id": run.id,
        "jobId": run.job_id,
        "status": run.status.value,
        "trigger": run.trigger.value,
        "attempt": run.attempt,
        "maxAttempts": run.max_attempts,
        "crashes": run.crashes,
        "payload": decode(run.payload),
        "result": None if run.result is None else decode(run.result),
        "createdAt": rfc3339(run.created_at),
        "dueAt": rfc3339(run.due_at),
        "startedAt": rfc3339(run.started_at),
        "finishedAt": rfc3339(run.finished_at),
        "deliveryId": run.delivery_id,
        "cronId": run.cron_id,
        "tick": rfc3339(run.tick),
    }


def _shortened(text: str | None) -> str:
    if text is None or len(text) <= _SHORT_MAX:
        return text or ""
    return text[: _SHORT_MAX - 1] + "…"
