"""The operator's desk: what the running service does for a command, beyond asking its store."""

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar, cast

import attrs
import trio

from service.core.errors import BackupFailed
from service.core.ids import run_id
from service.core.run import Run, Status, Trigger
from service.core.wire import decode
from service.door import Door
from service.messages import (
    BackedUp,
    BackUp,
    Cancelled,
    CancelRun,
    Copied,
    Enqueue,
    GetRun,
    Headway,
    ListTasks,
    Order,
    PauseJobs,
    Question,
    ReadHeadway,
    ResumeJobs,
    RetryRun,
    TriggerRun,
)
from service.observability.logs import get_logger
from service.observability.metrics import run_ended
from service.observability.sentry import check_out
from service.observability.traces import enqueue_span
from service.protocol import Progress, Refusal
from service.tasks.loading import Workload
from service.tasks.payloads import PayloadError, structure
from service.tasks.task import Task
from service.vault import Vault

__all__ = ["Desk"]

V = TypeVar("V")

log = get_logger("service.operator")


@attrs.frozen(kw_only=True)
class Desk:
    """Carries out orders, and asks the store the questions."""

    door: Door
    workload: Workload
    vault: Vault
    cancel_attempt: Callable[[str], None]
    """Ends the work on a run that the store has been told is cancelled."""
    now: Callable[[], datetime]
    headway: Callable[[str], Headway | None] = lambda _: None
    """Tells how far a run is that is worked on."""

    async def serve(
        self, asked: Question[V] | Order[V], tell: Callable[[Progress], Awaitable[None]]
    ) -> V:
        """Return the verdict; `tell` hears how far it is, if it takes long.

        Raises Refusal, which says why; StoreUnavailable. Cancelled means as much as it does at
        the door: what was not taken up never happened.
        """
        return cast("V", await self._verdict(asked, tell))

    async def _verdict(
        self,
        asked: Question[object] | Order[object],
        tell: Callable[[Progress], Awaitable[None]],
    ) -> object:
        match asked:
            case BackUp(path=path):
                verdict: object = await self._back_up(path, tell)
            case CancelRun():
                verdict = await self._cancel(asked)
            case TriggerRun():
                verdict = await self._trigger(asked)
            case RetryRun():
                verdict = await self._retry(asked)
            case PauseJobs() | ResumeJobs():
                verdict = await self._switch(asked)
            case Question():
                verdict = await self.door.ask(asked)
            case _:
                await trio.lowlevel.checkpoint()
                verdict = self._at_once(asked)
        return verdict

    def _at_once(self, order: Order[object]) -> object:
        match order:
            case ListTasks():
                return tuple(sorted(self.workload.tasks))
            case ReadHeadway(run_id=run_id):
                return self.headway(run_id)
            case _:
                raise Refusal(f"nobody carries out {type(order).__name__}")

    async def _cancel(self, question: CancelRun) -> Cancelled | None:
        found = await self.door.ask(question)
        if found is None:
            return None
        self.cancel_attempt(question.run_id)  # also of one that was cancelled by a lost verdict
        if found.was in {Status.QUEUED, Status.RUNNING}:
            log.info("run cancelled", job_id=found.job_id, run_id=question.run_id, was=found.was)
            run_ended(found.job_id, found.trigger, Status.CANCELLED)
        if found.was is Status.QUEUED and found.trigger is Trigger.CRON:
            await self._check_out(question.run_id)
        return found

    async def _check_out(self, run_id: str) -> None:
        """Tell the monitor of a run that had begun and has no runner who would."""
        run = await self.door.ask(GetRun(run_id))
        if run is not None and run.claim > 0:
            check_out(run, well=False)

    async def _trigger(self, order: TriggerRun) -> str:
        new_id = await self._enqueue(order.job_id, order.payload)
        log.info("run triggered", job_id=order.job_id, run_id=new_id)
        return new_id

    async def _retry(self, order: RetryRun) -> str:
        run = await self.door.ask(GetRun(order.run_id))
        if run is None:
            raise Refusal(f"there is no run {order.run_id!r}; `service runs` lists those there are")
        _demand_ended(run)
        new_id = await self._enqueue(run.job_id, run.payload)
        log.info("run triggered", job_id=run.job_id, run_id=new_id, retry_of=run.id)
        return new_id

    async def _back_up(self, path: Path, tell: Callable[[Progress], Awaitable[None]]) -> BackedUp:
        async def say(doing: str, copied: Copied) -> None:
            await tell(Progress(doing, copied.pages, copied.of_pages))

        try:
            made = await self.vault.back_up(path, say)
        except BackupFailed as error:
            log.warning("no backup was made", file=str(path), reason=str(error))
            raise Refusal(str(error)) from error
        log.info("backup made", file=str(path), size_bytes=made.size_bytes)
        return made

    async def _switch(self, question: PauseJobs | ResumeJobs) -> bool:
        changed = await self.door.ask(question)
        if changed:
            said = "runs wait" if isinstance(question, PauseJobs) else "runs go on"
            log.warning(said, job_id=question.job_id or "every job")
        return changed

    async def _enqueue(self, job_id: str, payload: str) -> str:
        task = self._task(job_id, payload)
        new_id = run_id(self.now(), secrets.token_bytes(10))
        with enqueue_span(task.id, new_id, Trigger.MANUAL) as span:
            accepted = await self.door.ask(
                Enqueue(
                    run_id=new_id,
                    job_id=task.id,
                    trigger=Trigger.MANUAL,
                    payload=payload,
                    max_attempts=task.retries + 1,
                    trace_context=span.context(),
                )
            )
        return accepted.run_id

    def _task(self, job_id: str, payload: str) -> Task:
        task = self.workload.tasks.get(job_id)
        if task is None:
            known = ", ".join(sorted(self.workload.tasks))
            raise Refusal(f"there is no task {job_id!r}, only {known}")
        try:
            structure(task, decode(payload))
        except PayloadError as error:
            raise Refusal(str(error)) from None
        return task


def _demand_ended(run: Run) -> None:
    if run.status is Status.QUEUED:
        raise Refusal(f"run {run.id} has not ended: it is queued, and will run by itself")
    if run.status is Status.RUNNING:
        raise Refusal(
            f"run {run.id} has not ended: it is running; `service cancel` ends it, then retry"
        )
