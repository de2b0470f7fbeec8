"""What becomes of each tick: run, skipped, missed or coalesced.

Theory of operation
-------------------
A job's watermark is the last tick that is accounted for. The question is never "does now match?"
but "which ticks lie in (watermark, now]?", and each of them ends in exactly one place of the
decision: in `runs`, or in the range of one of `records`. Whoever commits a decision whole, its
watermark included, loses no tick and repeats none, whatever the clock did in between. While the
clock is behind the watermark, nothing is due.

Ticks are told apart by age, the oldest first::

    watermark ... missed ... window ... coalesced ... chosen ... now

Only the chosen ticks are ever listed, at most `catch_up_max`; the others are counted, which costs
microseconds for each day since the watermark, whether the job ticks yearly or every second.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from service.core.cronjob import CronJob
from service.core.schedule import Schedule, count_ticks, newest_ticks, next_tick
from service.core.tick import CronState, TickOutcome, TickRecord

__all__ = [
    "ON_TIME_SECONDS",
    "Decision",
    "DueRun",
    "decide",
    "missed",
]

ON_TIME_SECONDS: Final = 60
"""A tick of less than this age is on time, whatever the policy: clocks step and machines stall."""

_SECOND: Final = timedelta(seconds=1)


@attrs.frozen
class DueRun:
    """The run that a tick is to become, due at the tick plus its jitter."""

    tick: datetime
    due_at: datetime


@attrs.frozen(kw_only=True)
class Decision:
    """What to commit in one transaction; every due tick is in `runs` or in `records`, never both.

    Nothing was due where `watermark` is the one that was given.
    """

    watermark: datetime
    runs: tuple[DueRun, ...] = ()
    records: tuple[TickRecord, ...] = ()
    cancel_previous: bool = False
    """Cancel the runs of this job that are queued or running, before `runs` are enqueued."""


def decide(job: CronJob, schedule: Schedule, state: CronState, now: datetime) -> Decision:
    """Decide what becomes of the ticks in (watermark, now].

    A new job, and one whose schedule or zone changed, starts with the present as its watermark.
    """
    window = max(state.watermark, _window_start(job, now))
    chosen = _chosen(job, schedule, window, now)
    until = chosen[0] - _SECOND if chosen else now
    coalesced_after = until if job.catch_up == "all" or not job.enabled else min(window, until)
    records = [
        *_record(schedule, state.watermark, coalesced_after, TickOutcome.MISSED),
        *_record(schedule, coalesced_after, until, TickOutcome.COALESCED),
    ]
    runs: list[DueRun] = []
    if _is_blocked(job, state):
        records += _record(schedule, until, now, TickOutcome.SKIPPED)
    else:
        runs = [DueRun(tick, tick + _jitter(job, tick)) for tick in chosen]
    return Decision(
        watermark=max([state.watermark, *(r.last for r in records), *(r.tick for r in runs)]),
        runs=tuple(runs),
        records=tuple(records),
        cancel_previous=job.overlap == "cancel_previous" and state.active > 0 and bool(runs),
    )


def missed(schedule: Schedule, watermark: datetime, now: datetime) -> TickRecord | None:
    """Return the record of the ticks in (watermark, now] of a schedule that ends now."""
    return next(_record(schedule, watermark, now, TickOutcome.MISSED), None)


def _chosen(job: CronJob, schedule: Schedule, window: datetime, now: datetime) -> list[datetime]:
    """Return the due ticks that are to run: the newest of those within the window."""
    if not job.enabled:
        return []
    most = job.catch_up_max if job.catch_up == "all" else 1
    return newest_ticks(schedule, window, now, most=most)


def _record(
    schedule: Schedule, after: datetime, until: datetime, outcome: TickOutcome
) -> Iterator[TickRecord]:
    """Yield one record of the ticks in (after, until], or none where there are none."""
    if after < until and (count := count_ticks(schedule, after, until)):
        [last] = newest_ticks(schedule, after, until, most=1)
        first = next_tick(schedule, after)
        yield TickRecord(first=first, last=last, count=count, outcome=outcome)


def _window_start(job: CronJob, now: datetime) -> datetime:
    late = 0 if job.catch_up == "none" else job.catch_up_window
    return now - timedelta(seconds=max(ON_TIME_SECONDS, late))


def _is_blocked(job: CronJob, state: CronState) -> bool:
    """Return whether an earlier run is in the way."""
    if job.overlap == "skip":
        return state.active > 0
    return job.overlap == "queue_one" and state.queued > 0


def _jitter(job: CronJob, tick: datetime) -> timedelta:
    """Return the job's delay of this tick: as good as random, and always the same."""
    if not job.jitter:
        return timedelta()
    digest = hashlib.sha256(f"{job.id} {tick.timestamp()}".encode()).digest()
    return timedelta(seconds=job.jitter * int.from_bytes(digest[:8]) / 2**64)
