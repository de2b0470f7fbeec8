"""`service runs` and `service show`: tables for a person, JSON for a program."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter

import click
from rich.table import Table

from service.cli.console import add_row, as_json_option, ids, pretty, print_json, print_table
from service.cli.facts import progress_words, run_json, shortened
from service.cli.finding import no_run, run_argument, whole_id
from service.cli.following import follow_runs
from service.cli.times import duration, span
from service.client import NoService, ask, ask_service, list_runs
from service.core.run import Run, Status, Trigger
from service.core.wire import Json, decode, rfc3339
from service.messages import GetRun, Headway, ReadHeadway, ReadStory, RunFilter, Story
from service.settings import Settings, read_settings

__all__ = ["print_run", "runs", "show"]


def _words(choices: type[Status | Trigger]) -> list[str]:
    return [choice.value for choice in choices]  # click would take the names


@click.command()
@click.option("--job-id", help="Only runs of this task.")
@click.option("--status", type=click.Choice(_words(Status)), help="Only runs that stand so.")
@click.option("--trigger", type=click.Choice(_words(Trigger)), help="Only runs asked for so.")
@click.option("--since", type=span, help="Only runs created since, such as 90s, 2h or 7d ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--follow", "-f", is_flag=True, help="Go on: a line for each change. Ctrl-C ends.")
@as_json_option(help="Print a JSON array; with --follow, an object a line.")
def runs(  # noqa: PLR0913 - one parameter an option
    *,
    job_id: str | None,
    status: str | None,
    trigger: str | None,
    since: timedelta | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> None:
    """List runs, newest first; with --follow, newest last."""
    wanted = RunFilter(
        job_id=job_id,
        status=None if status is None else Status(status),
        trigger=None if trigger is None else Trigger(trigger),
        since=None if since is None else datetime.now(UTC) - since,
        limit=limit,
    )
    settings = read_settings(os.environ)
    if follow:
        follow_runs(settings, wanted, as_json=as_json)
        return
    found = list_runs(wanted, partial(ask, settings))
    if as_json:
        print_json([run_json(run) for run in found])
        return
    table = Table(ids("run"), "jobId", "status", "trigger", "attempt", "created (UTC)", "result")
    for run in found:
        add_row(
            table,
            run.id,
            run.job_id,
            run.status,
            run.trigger,
            f"{run.attempt}/{run.max_attempts}",
            rfc3339(run.created_at),
            shortened(run.result),
        )
    print_table(table)


@click.command()
@run_argument
@as_json_option(help="Print a JSON object.")
def show(run_id: str, *, as_json: bool) -> None:
    """Show one RUN, by its id or by the beginning of its id: what happened to it, and when.

    The attempts listed in JSON are those that did not end the run: failed and retried,
    interrupted by a stop, crashed with the service. The last one is told by the run itself.
    """
    settings = read_settings(os.environ)
    print_run(settings, whole_id(settings, run_id), as_json=as_json)


def print_run(settings: Settings, run_id: str, *, as_json: bool) -> None:
    """Print a run. Raises ClickException if there is none of that id."""
    run = ask(settings, GetRun(run_id))
    if run is None:
        raise no_run(run_id)
    story = ask(settings, ReadStory(run_id))
    headway = _headway(settings, run)
    if as_json:
        more = {"traceId": trace_id(run), "progress": _progress_json(headway), **_story_json(story)}
        print_json({**run_json(run), **more})
        return
    table = Table(show_header=False)
    for name, value in run_json(run).items():
        add_row(table, name, value if isinstance(value, str) else pretty(value))
    add_row(table, "trace", trace_id(run) or "null")
    said = "null" if headway is None else f"{progress_words(headway)} ({rfc3339(headway.at)})"
    add_row(table, "progress", said)
    print_table(table)
    print_table(_timeline(run, story))


def _headway(settings: Settings, run: Run) -> Headway | None:
    """Return how far the task says that it is; only the service that runs it knows."""
    if run.status is not Status.RUNNING:
        return None
    try:
        return ask_service(settings, ReadHeadway(run.id))
    except NoService:
        return None


def _progress_json(headway: Headway | None) -> Json:
    if headway is None:
        return None
    moment = rfc3339(headway.at)
    return {"done": headway.done, "total": headway.total, "note": headway.note, "at": moment}


def _timeline(run: Run, story: Story) -> Table:
    """Tell what happened to a run, and when."""
    table = Table("when (UTC)", "what", "how long", "why", title="Timeline")
    add_row(table, rfc3339(run.created_at), f"accepted: {_origin(run)}")
    for moment, *columns in sorted([*_past(story), *_present(run)], key=itemgetter(0)):
        add_row(table, rfc3339(moment), *columns)
    return table


def _past(story: Story) -> Iterator[tuple[datetime, str, str, str]]:
    for past in story.attempts:
        seconds = (past.ended_at - past.started_at) / timedelta(seconds=1)
        what = f"attempt {past.attempt} {past.ending}"
        yield past.started_at, what, duration(seconds), past.message or ""
    for step in story.steps:
        yield step.recorded_at, f"step {step.name!r} done", "", ""


def _present(run: Run) -> Iterator[tuple[datetime, str, str, str]]:
    """Tell of the last attempt: yet to come, running, or the one that ended the run."""
    if run.status is Status.QUEUED:
        yield run.due_at, f"attempt {run.attempt + 1} is due", "", ""
    elif run.finished_at is None:
        yield run.started_at or run.created_at, f"attempt {run.attempt} is running", "", ""
    else:
        if run.started_at is not None:
            seconds = (run.finished_at - run.started_at) / timedelta(seconds=1)
            yield run.started_at, f"attempt {run.attempt}", duration(seconds), ""
        yield run.finished_at, f"ended: {run.status}", "", _message(run)


def _origin(run: Run) -> str:
    if run.cron_id is not None:
        return f"cron job {run.cron_id}, tick {rfc3339(run.tick)}"
    return f"{run.trigger}, delivery {run.delivery_id}" if run.delivery_id else str(run.trigger)


def _message(run: Run) -> str:
    result = None if run.result is None else decode(run.result)
    return str(result.get("message", "")) if isinstance(result, dict) else ""


def trace_id(run: Run) -> str | None:
    """Return the id of the trace that tells of the run (W3C Trace Context), if there is one."""
    return None if run.trace_context is None else run.trace_context.split("-")[1]


def _story_json(story: Story) -> dict[str, Json]:
    return {
        "attempts": [
            {
                "attempt": past.attempt,
                "startedAt": rfc3339(past.started_at),
                "endedAt": rfc3339(past.ended_at),
                "ending": past.ending,
                "message": past.message,
            }
            for past in story.attempts
        ],
        "steps": [
            {"name": step.name, "recordedAt": rfc3339(step.recorded_at)} for step in story.steps
        ],
    }
