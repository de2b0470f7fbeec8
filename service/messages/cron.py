"""What is asked about cron jobs: what they mean, how far each is accounted for, and its ticks."""

from collections.abc import Mapping
from datetime import datetime

import attrs

from service.core.run import Status
from service.core.tick import CronState, TickRecord
from service.messages.question import Question


@attrs.frozen
class CronMeaning:
    """What a cron job means: a change of either starts it anew."""

    schedule: str
    timezone: str


@attrs.frozen
class AdoptCronJobs(Question[Mapping[str, datetime]]):
    """Make these the cron jobs from `at` on, and read the watermark of each.

    A new job, and one whose meaning changed, starts with `at` as its watermark; what it meant
    before, and what jobs that are gone meant, ends there and stays in the history.
    """

    jobs: Mapping[str, CronMeaning]
    at: datetime
    missed: Mapping[str, TickRecord]
    """By cron id, the ticks that a meaning which ends had not come to."""


@attrs.frozen
class ReadCronStates(Question[Mapping[str, CronState]]):
    """Read the watermarks and unfinished runs of some cron jobs."""

    cron_ids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class CronDefinition:
    """What a cron job means or meant: the ticks in (since, watermark] are accounted for."""

    id: str
    schedule: str
    timezone: str
    since: datetime
    watermark: datetime
    current: bool


@attrs.frozen
class ListCronDefinitions(Question[tuple[CronDefinition, ...]]):
    """Read what cron jobs mean and meant, by id and age."""


@attrs.frozen(kw_only=True)
class ReadTicks(Question[tuple[TickRecord, ...]]):
    """Read the oldest `limit` records of a cron job that reach into (after, until]."""

    cron_id: str
    after: datetime
    until: datetime
    limit: int


@attrs.frozen
class LastTick:
    """The newest record of a cron job, and its run if it ran and is still known."""

    record: TickRecord
    run_id: str | None
    run_status: Status | None


@attrs.frozen
class ReadLastTicks(Question[dict[str, LastTick]]):
    """Read the newest record of each cron job that has one."""


@attrs.frozen(kw_only=True)
class CronRun:
    """A run to enqueue for a tick."""

    run_id: str
    tick: datetime
    due_at: datetime
    trace_context: str | None = None


@attrs.frozen(kw_only=True)
class CronAdvance:
    """What was decided for the due ticks of one job; all of it happens, or nothing.

    Nothing happens if the watermark is no longer `seen_watermark`.
    """

    cron_id: str
    job_id: str
    payload: str
    max_attempts: int
    seen_watermark: datetime
    watermark: datetime
    runs: tuple[CronRun, ...]
    records: tuple[TickRecord, ...]
    cancel_previous: bool


@attrs.frozen
class AdvanceCron(Question[Mapping[str, str]]):
    """Enqueue and record due ticks; the verdict is the runs cancelled for them, and their jobs."""

    advances: tuple[CronAdvance, ...]
