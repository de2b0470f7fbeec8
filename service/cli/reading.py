"""`service runs` and `service show`: tables for a person, JSON for a program."""

from typing import Final

import click
from rich.table import Table

from service.cli.console import pretty, print_json, print_table
from service.client import ask
from service.core.run import Run
from service.core.wire import Json, decode, rfc3339
from service.messages import GetRun, ListRuns, RunFilter
from service.settings import Settings

__all__ = ["list_runs", "run_json", "show_run"]

_SHORT_MAX: Final = 60


def list_runs(settings: Settings, wanted: RunFilter, *, as_json: bool) -> None:
    """Print the runs that match, newest first."""
    runs = ask(settings, ListRuns(wanted))
    if as_json:
        print_json([run_json(run) for run in runs])
        return
    table = Table("run", "jobId", "status", "trigger", "attempt", "created (UTC)", "result")
    for run in runs:
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


def show_run(settings: Settings, run_id: str, *, as_json: bool) -> None:
    """Print one run. Raises ClickException if there is none of that id."""
    run = ask(settings, GetRun(run_id))
    if run is None:
        raise click.ClickException(
            f"there is no run {run_id!r}; `service runs` lists those there are"
        )
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
