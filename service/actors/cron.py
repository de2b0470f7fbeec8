"""The cron actor: looks at the wall clock, and accounts for every tick that has become due.

It sleeps until the next tick, but never longer than half a minute, because trio's clock does not
see the wall clock jump. The store holds the watermarks; what is kept here is only when to look
again, so a wrong wake-up costs a look and nothing else.
"""

import heapq
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

import attrs
import trio

from service.core.cronjob import CronJob
from service.core.errors import StoreEnded, StoreUnavailable
from service.core.ids import run_id
from service.core.run import Status, Trigger
from service.core.schedule import Schedule, compile_schedule, next_tick
from service.core.tick import CronState, TickOutcome, TickRecord
from service.core.ticking import (
    ON_TIME_SECONDS,
    Decision,
    DueRun,
    decide,
    missed,
)
from service.core.wire import encode
from service.door import Door
from service.messages import (
    AdoptCronJobs,
    AdvanceCron,
    CronAdvance,
    CronDefinition,
    CronMeaning,
    CronRun,
    ListCronDefinitions,
    ReadCronStates,
)
from service.observability.logs import get_logger
from service.observability.metrics import cron_run_late, run_ended, ticks_accounted
from service.observability.traces import tick_span
from service.pulse import Pulse

__all__ = ["Cron", "Plan"]

LONGEST_SLEEP_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0
"""Pause after the store could not commit."""

BATCH_MAX: Final = 200
"""Jobs that share a question to the store, so that webhooks come in between."""

RUNS_MAX: Final = 1_000
"""A question that enqueues so many runs takes in no further job, for the same reason."""

log = get_logger("service.cron")


@attrs.frozen
class Plan:
    """A cron job, ready to be planned."""

    job: CronJob
    schedule: Schedule
    max_attempts: int


@attrs.define(kw_only=True, eq=False)
class Cron:
    """Turns ticks into runs."""

    door: Door
    plans: Sequence[Plan]
    pulse: Pulse
    now: Callable[[], datetime]
    cancel_run: Callable[[str], None]
    longest_sleep_seconds: float = LONGEST_SLEEP_SECONDS
    _agenda: list[tuple[datetime, int]] = attrs.field(factory=list, init=False)
    """When to look at which plan again: a heap."""
    _looked_at: datetime = attrs.field(default=datetime.min.replace(tzinfo=UTC), init=False)
    """What the wall clock showed at the last look."""
    _waiting: bool = attrs.field(default=False, init=False)
    """Whether ticks wait for the store, and it has been said."""

    async def keep_time(
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Account for ticks until cancelled; a tick is accounted for whole, or not at all."""
        with self.door:
            watermarks = await self._adopt()
            self._looked_at = max(watermarks.values(), default=self._looked_at)
            for index, plan in enumerate(self.plans):
                self._look_again(index, watermarks[plan.job.id])
            task_status.started()
            while True:
                self.pulse.beat()
                await trio.sleep(await self._turn())

    async def _adopt(self) -> Mapping[str, datetime]:
        """Begin what the jobs mean now; what an older meaning had not come to is missed."""
        meanings, now = self._meanings(), self.now()
        known = await self.door.insist(ListCronDefinitions(), complain=self._complain)
        left = {}
        for old in known:
            ends = meanings.get(old.id) != CronMeaning(old.schedule, old.timezone)
            if old.current and ends and (record := _missed(old, now)) is not None:
                left[old.id] = record
        watermarks = await self.door.insist(
            AdoptCronJobs(meanings, now, left), complain=self._complain
        )
        for cron_id, record in left.items():
            _report_others(cron_id, record)
        return watermarks

    def _complain(self, reason: str) -> None:
        if not self._waiting:
            log.warning("ticks wait for the store", reason=reason)
        self._waiting = True

    def _meanings(self) -> dict[str, CronMeaning]:
        return {
            plan.job.id: CronMeaning(plan.job.schedule, plan.schedule.zone.key)
            for plan in self.plans
        }

    def _notice_a_step_back(self, instant: datetime) -> None:
        """Say it, once, when the wall clock has been ahead: what has ticked then is done."""
        back = (self._looked_at - instant) / timedelta(seconds=1)
        if back > ON_TIME_SECONDS:
            log.warning("no ticks until the clock catches up", seconds=back)
        self._looked_at = instant

    def _look_again(self, index: int, watermark: datetime) -> None:
        tick = next_tick(self.plans[index].schedule, watermark)
        heapq.heappush(self._agenda, (tick, index))

    async def _turn(self) -> float:
        """Account for all that is due; return how long to sleep, in seconds."""
        instant = self.now()
        self._notice_a_step_back(instant)
        due = iter(list(self._due(instant)))
        while batch := list(islice(due, BATCH_MAX)):
            try:
                await self._advance([index for _, index in batch], instant)
            except StoreEnded:
                raise
            except StoreUnavailable as error:
                self._complain(str(error))
                for entry in (*batch, *due):
                    heapq.heappush(self._agenda, entry)
                return RETRY_SECONDS
            self._waiting = False
        return self._until_next()

    def _due(self, instant: datetime) -> Iterator[tuple[datetime, int]]:
        while self._agenda and self._agenda[0][0] <= instant:
            yield heapq.heappop(self._agenda)

    def _until_next(self) -> float:
        if not self._agenda:
            return self.longest_sleep_seconds
        wait = (self._agenda[0][0] - self.now()) / timedelta(seconds=1)
        return min(max(wait, 0.0), self.longest_sleep_seconds)

    async def _advance(self, indexes: Sequence[int], instant: datetime) -> None:
        ids = tuple(self.plans[index].job.id for index in indexes)
        states = await self.door.ask(ReadCronStates(ids))
        watermarks: dict[int, datetime] = {}
        group: list[tuple[Plan, CronState, Decision]] = []
        for index in indexes:
            plan = self.plans[index]
            state = states[plan.job.id]
            decision = decide(plan.job, plan.schedule, state, instant)
            watermarks[index] = decision.watermark
            if decision.runs or decision.records:
                group.append((plan, state, decision))
            if sum(len(decided.runs) for _, _, decided in group) >= RUNS_MAX:
                await self._commit(group, instant)
                group = []
        if group:
            await self._commit(group, instant)
        for index, watermark in watermarks.items():
            self._look_again(index, watermark)

    async def _commit(
        self, group: Iterable[tuple[Plan, CronState, Decision]], instant: datetime
    ) -> None:
        with ExitStack() as spans:
            advances = tuple(self._advance_of(*decided, spans) for decided in group)
            self._cancel(await self.door.ask(AdvanceCron(advances)))
        _report(advances, instant)

    def _cancel(self, runs: Mapping[str, str]) -> None:
        """End the work on runs, by id and job, that the store has cancelled for newer ticks."""
        for cancelled, job_id in runs.items():
            self.cancel_run(cancelled)
            log.info("run cancelled for a newer tick", job_id=job_id, run_id=cancelled)
            run_ended(job_id, Trigger.CRON, Status.CANCELLED)

    def _advance_of(
        self, plan: Plan, state: CronState, decision: Decision, spans: ExitStack
    ) -> CronAdvance:
        return CronAdvance(
            cron_id=plan.job.id,
            job_id=plan.job.job_id,
            payload=encode(plan.job.payload),
            max_attempts=plan.max_attempts,
            seen_watermark=state.watermark,
            watermark=decision.watermark,
            runs=tuple(self._run_of(plan, due, spans) for due in decision.runs),
            records=decision.records,
            cancel_previous=decision.cancel_previous,
        )

    def _run_of(self, plan: Plan, due: DueRun, spans: ExitStack) -> CronRun:
        """Return the run of a tick, whose span is open until the run is on disk."""
        new_id = run_id(self.now(), secrets.token_bytes(10))
        span = spans.enter_context(tick_span(plan.job.id, plan.job.job_id, new_id, due.tick))
        return CronRun(
            run_id=new_id,
            tick=due.tick,
            due_at=due.due_at,
            trace_context=span.context(),
        )


def _missed(old: CronDefinition, now: datetime) -> TickRecord | None:
    try:
        schedule = compile_schedule(old.schedule, old.timezone)
    except ValueError as error:  # of a release or a tzdata that knew more: it ends all the same
        log.warning("ticks cannot be accounted for", cron_id=old.id, reason=str(error))
        return None
    return missed(schedule, old.watermark, now)


def _report(advances: Sequence[CronAdvance], instant: datetime) -> None:
    late = [
        (instant - run.tick) / timedelta(seconds=1) for advance in advances for run in advance.runs
    ]
    if late and max(late) > ON_TIME_SECONDS:
        log.warning("ticks run late", runs=len(late), late_seconds=max(late))
    for advance in advances:
        for run in advance.runs:
            ticks_accounted(advance.cron_id, TickOutcome.RAN)
            cron_run_late(advance.cron_id, max((instant - run.tick) / timedelta(seconds=1), 0.0))
        for record in advance.records:
            _report_others(advance.cron_id, record)


def _report_others(cron_id: str, record: TickRecord) -> None:
    ticks_accounted(cron_id, record.outcome, record.count)
    log.info(
        "ticks did not run",
        outcome=str(record.outcome),
        cron_id=cron_id,
        ticks=record.count,
        first=record.first,
        last=record.last,
    )
