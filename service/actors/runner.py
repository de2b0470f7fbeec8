"""The runner actor: takes one run at a time, performs its task, and tells the store how it ended.

Theory of operation: whatever happens, the store is told
---------------------------------------------------------
Between the claim and the last word the store believes that the run is running, and only this
runner can say otherwise. So the last word is said in a `finally`, shielded: how the attempt ended,
or, when it was interrupted, that the run goes back with its attempt given back. A store that
cannot commit is asked again until it can, and the result is kept meanwhile. Only the end of the
service cuts that short; the next start then finds an orphan, and runs it again.
"""

import random
from collections.abc import Callable, Mapping
from contextvars import Context as ContextVars
from contextvars import copy_context
from datetime import datetime, timedelta
from functools import partial

import attrs
import trio

from service.core.backoff import delay_seconds
from service.core.errors import StoreEnded, StoreUnavailable
from service.core.results import Result
from service.core.run import Done, Failure, Run, Status, Suspended, after_attempt
from service.core.wire import NotJson, decode
from service.door import Door, Ticket
from service.messages import (
    Claim,
    Finish,
    Question,
    Release,
    Retry,
    Suspend,
)
from service.observability.attempts import Ended, Ending, tell, tell_beginning
from service.observability.logs import bound, get_logger
from service.observability.sentry import run_scope
from service.observability.traces import Span, attempt_span
from service.pool import Pool
from service.settings import Settings
from service.stepping import in_context
from service.tasks.context import Context
from service.tasks.execution import attempt
from service.tasks.loading import Workload
from service.tasks.notebook import StoredNotebook
from service.tasks.outbound import Outbound
from service.tasks.workspace import Workspace
from service.yard import Hand, Stint, Yard

__all__ = ["Runner"]

log = get_logger("service.runner")


@attrs.define(eq=False)
class _Attempt:
    """An attempt at a run, and how it ended so far as is known."""

    run: Run
    span: Span
    context: ContextVars = attrs.field(factory=copy_context)
    began_at: float = attrs.field(factory=trio.current_time)
    outcome: Result | Failure | Suspended | None = None
    last_word: Question[bool] = attrs.field()

    @last_word.default
    def _interrupted(self) -> Question[bool]:
        return Release(self.run.id, self.run.claim)


@attrs.frozen(kw_only=True)
class Runner:
    """Performs runs, one at a time, until hiring stops."""

    door: Door
    pool: Pool
    yard: Yard
    workload: Workload
    settings: Settings
    threads: trio.CapacityLimiter
    cron_timeouts: Mapping[str, float]
    now: Callable[[], datetime]
    outbound: Outbound

    async def work(self) -> None:
        """Perform runs. When cancelled, the run at hand goes back to the queue first."""
        with self.door:
            await self.yard.employ(self._serve)

    async def _serve(self, hand: Hand) -> None:
        claim = await self._claim()
        while claim is not None:
            run = await self.pool.while_hiring(claim.verdict)
            claim = None if run is None else await self._perform(run, hand)
            del run  # it may be large, and the wait for the next one long

    async def _claim(self) -> Ticket[Run] | None:
        """Ask for the next run, if there is to be one; its verdict must be waited for."""
        return await self.door.post(Claim()) if self.pool.hires else None

    async def _perform(self, run: Run, hand: Hand) -> Ticket[Run] | None:
        names = bound(job_id=run.job_id, run_id=run.id)
        with attempt_span(run) as span, run_scope(run), names:
            tell_beginning(run, self.now())
            return await self._perform_watched(_Attempt(run, span), hand)

    async def _perform_watched(self, attempt: _Attempt, hand: Hand) -> Ticket[Run] | None:
        run = attempt.run
        claim: Ticket[Run] | None = None
        stint = hand.begin(
            f"run {run.id} of {run.job_id}",
            seconds=self._timeout_seconds(run),
            instead=partial(self._close_left, attempt),
        )
        try:
            with stint, self.pool.working_on(run.id, run.claim, stint.interrupt):
                attempt.outcome, attempt.last_word = await in_context(
                    attempt.context, self._outcome(run)
                )
            if stint.is_left_behind:
                return None
            claim = await self._claim()  # now, so that one commit serves it and the last word
        finally:
            if not stint.is_left_behind:
                await self._close(attempt, claim)  # noqa: ASYNC102 - shielded and bounded within
        return await self._claim() if claim is not None and claim.withdrawn else claim

    async def _close_left(self, attempt: _Attempt, stint: Stint) -> None:
        """Close an attempt whose task goes on in spite of its end, or left something open."""
        run = attempt.run
        self.pool.let_go(run.id)
        if attempt.outcome is None and not stint.is_interrupted:
            seconds = self._timeout_seconds(run)
            failure = Failure(
                f"task {run.job_id!r} timed out after {seconds:g} s, and goes on in spite of it"
            )
            attempt.outcome, attempt.last_word = failure, self._settle(run, failure)
        await in_context(attempt.context.copy(), self._close(attempt))

    async def _close(self, attempt: _Attempt, claim: Ticket[Run] | None = None) -> None:
        """Tell everybody how an attempt ended; the store first."""
        run, outcome, last_word = attempt.run, attempt.outcome, attempt.last_word
        held = await self._tell(run, last_word, claim)
        ended = Ended(
            run=run,
            ending=_ending(last_word, held=held),
            outcome=None if isinstance(outcome, Suspended) else outcome,
            seconds=trio.current_time() - attempt.began_at,
            due_at=last_word.due_at if isinstance(last_word, Retry | Suspend) else None,
        )
        tell(ended, attempt.span)
        attempt.span.end()

    async def _outcome(self, run: Run) -> tuple[Result | Failure | Suspended, Question[bool]]:
        """Return how the attempt ended, and what the store is to be told of it."""
        try:
            outcome = await self._attempt(run)
            return outcome, self._settle(run, outcome)
        except Exception as error:  # noqa: BLE001 - a fault of ours fails this run, not the service
            name = type(error).__name__
            failure = Failure(
                f"the service failed at this run, see its log: {name}", exception=error
            )
            return failure, self._settle(run, failure)

    async def _attempt(self, run: Run) -> Result | Failure | Suspended:
        task = self.workload.tasks.get(run.job_id)
        if task is None:
            return Failure(f"jobId: no task {run.job_id!r} is registered", permanent=True)
        try:
            payload = decode(run.payload)
        except NotJson as error:
            return Failure(f"the stored payload is not JSON: {error}", permanent=True)
        logger = get_logger(f"task.{run.job_id}").bind(**_names(run))
        context = Context(
            run_id=run.id,
            job_id=run.job_id,
            attempt=run.attempt,
            max_attempts=run.max_attempts,
            trigger=run.trigger,
            tick=run.tick,
            log=logger,
            workspace=Workspace(
                log=logger,
                notebook=StoredNotebook(run, self.door, self._tell),
                threads=self.threads,
                step_timeout_seconds=self.settings.step_timeout_seconds,
                now=self.now,
                outbound=self.outbound,
                note_headway=partial(self.pool.note_headway, run.id, run.claim),
            ),
        )
        return await attempt(
            task,
            context,
            payload,
            timeout_seconds=self._timeout_seconds(run),
            threads=self.threads,
        )

    def _timeout_seconds(self, run: Run) -> float:
        task = self.workload.tasks.get(run.job_id)
        for seconds in (
            self.cron_timeouts.get(run.cron_id or ""),
            None if task is None else task.timeout,
        ):
            if seconds is not None:
                return seconds
        return self.settings.task_timeout_seconds

    def _settle(self, run: Run, outcome: Result | Failure | Suspended) -> Question[bool]:
        """Turn the outcome of an attempt into what the store is to be told."""
        if isinstance(outcome, Suspended):
            return Suspend(run.id, run.claim, outcome.due_at)
        verdict = after_attempt(
            outcome,
            attempt=run.attempt,
            max_attempts=run.max_attempts,
            backoff=self._backoff_seconds(run),
        )
        result = verdict.result.encoded
        if isinstance(verdict, Done):
            return Finish(run.id, run.claim, verdict.status, result)
        return Retry(run.id, run.claim, self.now() + timedelta(seconds=verdict.delay), result)

    def _backoff_seconds(self, run: Run) -> float:
        task = self.workload.tasks.get(run.job_id)
        base = longest = None
        if task is not None:
            base, longest = task.retry_base_seconds, task.retry_max_seconds
        return delay_seconds(
            run.attempt,
            base=self.settings.retry_base_seconds if base is None else base,
            maximum=self.settings.retry_max_seconds if longest is None else longest,
            chance=random.random(),  # noqa: S311 - spreads retries, guards nothing
        )

    async def _tell(
        self, run: Run, last_word: Question[bool], claim: Ticket[Run] | None = None
    ) -> bool | None:
        """Tell the store, as often as it takes; True if this runner still held the run.

        None if the store has gone before it could be told. While it takes longer, the next run is
        not for this runner: the `claim` is withdrawn.
        """

        def complain(reason: str) -> None:
            log.warning("the store refuses how a run ended; kept", reason=reason, **_names(run))

        with self.pool.last_word():
            try:
                return await self._tell_at_length(last_word, claim, complain)
            except StoreEnded:
                return None

    async def _tell_at_length(
        self,
        last_word: Question[bool],
        claim: Ticket[Run] | None,
        complain: Callable[[str], None],
    ) -> bool:
        try:
            return await self.door.ask(last_word)
        except StoreEnded:
            raise
        except StoreUnavailable:
            if claim is not None:
                claim.withdraw()
        return await self.door.insist(last_word, complain=complain)


def _names(run: Run) -> dict[str, object]:
    return {
        "job_id": run.job_id,
        "run_id": run.id,
        "trigger": str(run.trigger),
        "attempt": run.attempt,
    }


def _ending(last_word: Question[bool], *, held: bool | None) -> Ending:
    if held is None:
        return Ending.LOST
    if not held:
        return Ending.CANCELLED
    match last_word:
        case Finish(status=status):
            return Ending.OK if status is Status.OK else Ending.ERROR
        case Retry():
            return Ending.RETRY
        case Suspend():
            return Ending.SUSPENDED
        case _:
            return Ending.INTERRUPTED
