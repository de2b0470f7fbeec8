"""`service stats` and `service top`: how runs end, and what goes on."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count as count_up
from itertools import islice
from typing import Final

import attrs
import click
from rich.console import Group
from rich.live import Live
from rich.table import Table

from service.cli.console import (
    add_row,
    as_json_option,
    ids,
    print_json,
    print_table,
    styled,
    terminal,
)
from service.cli.cron import upcoming
from service.cli.jobs import workload_of
from service.cli.times import duration, span
from service.client import ask, ask_service
from service.core.summary import JobSummary, Tally
from service.core.wire import Json, rfc3339
from service.messages import (
    JobQueue,
    ListPausedJobs,
    Overview,
    ReadOutcomes,
    ReadOverview,
)
from service.settings import Settings, read_settings

__all__ = ["stats", "top"]

PAGE: Final = 1_000
"""Outcomes that are asked for at a time, so that the service's own questions come in between."""

TICKS_SHOWN: Final = 5


@click.command()
@click.option("--since", type=span, default="24h", show_default=True, help="How far to look back.")
@as_json_option(help="Print a JSON object by job.")
def stats(*, since: timedelta, as_json: bool) -> None:
    """Tell, job by job, how runs ended, how long they took, and what waits.

    p50 and p95 are the time that half of the runs, and 95 of 100, did not exceed in their last
    attempt.
    """
    settings = read_settings(os.environ)
    summaries = _summaries(settings, datetime.now(UTC) - since)
    overview = ask(settings, ReadOverview())
    queues = {queue.job_id: queue for queue in overview.queues}
    paused = ask(settings, ListPausedJobs())
    rows = {
        job_id: (
            summaries.get(job_id, JobSummary()),
            queues.get(job_id),
            None in paused or job_id in paused,
        )
        for job_id in sorted({*summaries, *queues, *(job for job in paused if job)})
    }
    if as_json:
        print_json(
            {
                job_id: _row_json(summary, queue, overview.at, paused=is_paused)
                for job_id, (summary, queue, is_paused) in rows.items()
            }
        )
        return
    table = Table("jobId", "runs", "ok", "failed", "cancelled", "p50", "p95", "waiting", "for")
    for job_id, (summary, queue, is_paused) in rows.items():
        add_row(
            table,
            job_id,
            *(str(n) for n in (summary.runs, summary.ok, summary.failed, summary.cancelled)),
            duration(summary.p50_seconds),
            duration(summary.p95_seconds),
            str(queue.queued if queue else 0) + (", paused" if is_paused else ""),
            duration(_age(queue, overview.at)),
        )
    print_table(table)


def _summaries(settings: Settings, since: datetime) -> dict[str, JobSummary]:
    tally, before = Tally(), None
    while True:
        page = ask(settings, ReadOutcomes(before=before, since=since, limit=PAGE))
        for outcome in page.outcomes:
            tally.add(outcome.job_id, outcome.status, outcome.seconds)
        before = page.before
        if before is None:
            return tally.summaries()


def _age(queue: JobQueue | None, now: datetime) -> float | None:
    """Return for how many seconds the first has been due; None if none is."""
    if queue is None or queue.oldest_due > now:
        return None
    return (now - queue.oldest_due) / timedelta(seconds=1)


def _row_json(
    summary: JobSummary, queue: JobQueue | None, now: datetime, *, paused: bool
) -> dict[str, Json]:
    return {
        "runs": summary.runs,
        "ok": summary.ok,
        "failed": summary.failed,
        "cancelled": summary.cancelled,
        "p50Seconds": summary.p50_seconds,
        "p95Seconds": summary.p95_seconds,
        "queued": queue.queued if queue else 0,
        "oldestDueSeconds": _age(queue, now),
        "paused": paused,
    }


@attrs.frozen
class _Rates:
    """Runs a second, between two looks; None before the second."""

    accepted: float | None = None
    ended: float | None = None

    @classmethod
    def between(cls, before: Overview | None, after: Overview) -> "_Rates":
        """Compare two looks: what was accepted and is not open any more has ended."""
        if before is None or after.at <= before.at:
            return cls()
        seconds = (after.at - before.at) / timedelta(seconds=1)
        accepted = after.last - before.last
        return cls(accepted / seconds, max(accepted - (_open(after) - _open(before)), 0) / seconds)


@click.command()
@click.option("--every", type=span, default="1s", show_default=True, help="Between two looks.")
@click.option("-n", "looks", type=click.IntRange(1), help="End after so many looks.")
@as_json_option(help="Print a JSON object a line for each look.")
def top(*, every: timedelta, looks: int | None, as_json: bool) -> None:
    """Watch what goes on: running, waiting, the next ticks, runs a second. Ctrl-C ends it."""
    settings = read_settings(os.environ)
    try:
        views = islice(_views(settings, every / timedelta(seconds=1)), looks)
        if as_json:
            for view in views:
                print_json(view.to_json(), on_one_line=True)
        else:
            _show(views)
    except KeyboardInterrupt:
        return


@attrs.frozen
class _View:
    overview: Overview
    rates: _Rates
    paused: tuple[str | None, ...]
    ticks: list[tuple[datetime, str, str]]

    def to_json(self) -> dict[str, Json]:
        now = self.overview.at
        return {
            "at": rfc3339(now),
            "acceptedPerSecond": self.rates.accepted,
            "endedPerSecond": self.rates.ended,
            "running": [
                {
                    "id": run.id,
                    "jobId": run.job_id,
                    "attempt": run.attempt,
                    "startedAt": rfc3339(run.started_at),
                }
                for run in self.overview.running
            ],
            "queues": [
                {
                    "jobId": queue.job_id,
                    "queued": queue.queued,
                    "oldestDueSeconds": _age(queue, now),
                }
                for queue in self.overview.queues
            ],
            "paused": [job for job in self.paused if job is not None],
            "allPaused": None in self.paused,
            "next": [
                {"at": rfc3339(tick), "cronId": cron_id, "jobId": job_id}
                for tick, cron_id, job_id in self.ticks
            ],
        }


def _views(settings: Settings, pause_seconds: float) -> Iterator[_View]:
    """Look, again and again."""
    before = None
    workload = workload_of(settings)
    plans = [
        (job, job.compiled(default_timezone=settings.cron_timezone))
        for job in workload.cron_jobs
        if job.enabled
    ]
    for look in count_up():
        if look:
            time.sleep(pause_seconds)
        overview = ask_service(settings, ReadOverview())
        ticks = sorted(
            (next(upcoming(schedule, overview.at)), job.id, job.job_id) for job, schedule in plans
        )
        yield _View(
            overview,
            _Rates.between(before, overview),
            ask_service(settings, ListPausedJobs()),
            ticks[:TICKS_SHOWN],
        )
        before = overview


def _show(views: Iterator[_View]) -> None:
    with Live(console=terminal(), auto_refresh=False, transient=False) as live:
        for view in views:
            live.update(_drawn(view), refresh=True)


def _drawn(view: _View) -> Group:
    overview, now = view.overview, view.overview.at
    waiting = sum(queue.queued for queue in overview.queues)
    facts = [f"{rfc3339(now)}", f"running {len(overview.running)}", f"waiting {waiting}"]
    if view.rates.accepted is not None and view.rates.ended is not None:
        facts.append(f"accepted {view.rates.accepted:.1f}/s")
        facts.append(f"ended {view.rates.ended:.1f}/s")
    running = styled(Table(ids("running"), "jobId", "attempt", "for"))
    for run in overview.running:
        age = (now - run.started_at) / timedelta(seconds=1)
        add_row(running, run.id, run.job_id, f"{run.attempt}/{run.max_attempts}", duration(age))
    queues = styled(Table("waiting", "runs", "due for"))
    for queue in overview.queues:
        held = None in view.paused or queue.job_id in view.paused
        add_row(
            queues,
            queue.job_id,
            f"{queue.queued}{', paused' if held else ''}",
            duration(_age(queue, now)) or f"at {rfc3339(queue.oldest_due)}",
        )
    ticks = styled(Table("next tick (UTC)", "cron job", "runs"))
    for tick, cron_id, job_id in view.ticks:
        add_row(ticks, rfc3339(tick), cron_id, job_id)
    return Group("   ".join(facts), running, queues, ticks)


def _open(overview: Overview) -> int:
    return len(overview.running) + sum(queue.queued for queue in overview.queues)
