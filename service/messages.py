"""What actors ask the store, and the door through which they ask.

Theory of operation: cancel at the door, never at the counter
--------------------------------------------------------------
A `Ticket` is a question on its way. While it waits, in the mailbox or parked for want of a due
run, its asker may still be cancelled: the ticket is withdrawn, and it never happened. From the
moment the store takes the ticket up, the asker waits for the verdict, whatever comes. So for an
asker there are three endings: `Cancelled` (it did not happen), a verdict (it did), and
`StoreUnavailable` (it may or may not stand: ask again with the same key).

The wait after that moment is bounded by the store, which answers every ticket it took: at the
latest when its patience with the disk ends, or when it dies. Answering never blocks and never
raises, so an asker that left cannot hurt the store.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum, auto
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import attrs
import outcome
import trio

from service.core.errors import StoreEnded
from service.core.run import Run, Status, Trigger
from service.core.ticking import CronState, TickRecord

MAILBOX_SIZE = 1024
"""Tickets that may wait for the store; further askers wait at the door, where they may leave."""

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Question(Generic[V_co]):
    """Something the store can answer with a `V`."""


@attrs.frozen(kw_only=True)
class Accepted:
    """A run is on disk; `replayed` says that the delivery had been seen before."""

    run_id: str
    job_id: str
    replayed: bool


@attrs.frozen(kw_only=True)
class Delivery:
    """What makes two requests one: a `key` seen within the `window` never starts a second run.

    The `id` is what the caller sent; the key also says whose numbering it belongs to.
    """

    key: str
    id: str
    window: timedelta


@attrs.frozen(kw_only=True)
class Enqueue(Question[Accepted]):
    """Put a run in the queue, unless its delivery was seen before."""

    run_id: str
    job_id: str
    trigger: Trigger
    payload: str
    max_attempts: int
    delivery: Delivery | None = None
    trace_context: str | None = None


@attrs.frozen
class Claim(Question[Run]):
    """Take the run that has been due longest; waits until there is one."""


@attrs.frozen
class Finish(Question[bool]):
    """End a running run. True if this claim still held it (or had ended it the same way)."""

    run_id: str
    claim: int
    status: Status
    result: str


@attrs.frozen
class Retry(Question[bool]):
    """Put a running run back until `due_at`, with the result of the attempt that failed."""

    run_id: str
    claim: int
    due_at: datetime
    result: str


@attrs.frozen
class Release(Question[bool]):
    """Put an interrupted run back in the queue and give its attempt back."""

    run_id: str
    claim: int


@attrs.frozen
class Recovered:
    """What a start found: runs queued again, and runs ended because they keep crashing."""

    requeued: int
    poisoned: tuple[Run, ...]


@attrs.frozen
class Recover(Question[Recovered]):
    """Take in a batch of at most `limit` runs that were running when the process died."""

    limit: int


@attrs.frozen(kw_only=True)
class RunFilter:
    """Which runs to list, newest first; None means any."""

    job_id: str | None = None
    status: Status | None = None
    trigger: Trigger | None = None
    since: datetime | None = None
    limit: int = 50


@attrs.frozen
class ListRuns(Question[tuple[Run, ...]]):
    """Read the runs that match."""

    filter: RunFilter


@attrs.frozen
class GetRun(Question["Run | None"]):
    """Read one run by its whole id."""

    run_id: str


@attrs.frozen
class Probe(Question[None]):
    """Answered when the store commits; a real write is tried if the last one failed or is old."""


@attrs.frozen
class Pruned:
    """What was forgotten; `last` is the run that was looked at last, None at the end."""

    runs: int
    others: int
    last: int | None


@attrs.frozen(kw_only=True)
class Prune(Question[Pruned]):
    """Forget a batch of at most `limit` finished runs, and as many ticks and deliveries.

    Runs are looked at in the order in which they came, those behind `after`.
    """

    after: int
    finished_before: datetime
    seen_before: datetime
    limit: int


@attrs.frozen
class CronMeaning:
    """What a cron job means: a change of either starts it anew."""

    schedule: str
    timezone: str


@attrs.frozen
class AdoptCronJobs(Question[Mapping[str, datetime]]):
    """Make these the cron jobs from now on, and read the watermark of each.

    A new job, and one whose meaning changed, starts with the present as its watermark; what it
    meant before, and what jobs that are gone meant, stays in the history.
    """

    jobs: Mapping[str, CronMeaning]


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
class AdvanceCron(Question[tuple[str, ...]]):
    """Enqueue and record due ticks; the verdict names the runs that were cancelled for them."""

    advances: tuple[CronAdvance, ...]


class _Stage(Enum):
    WAITING = auto()
    TAKEN = auto()
    ANSWERED = auto()
    WITHDRAWN = auto()


@attrs.define(eq=False)
class Ticket(Generic[V]):
    """A question on its way through the mailbox; see the theory of operation above."""

    question: Question[V]
    _stage: _Stage = _Stage.WAITING
    _verdict: outcome.Outcome[V] | None = None
    _asker: trio.lowlevel.Task | None = None
    _raise_cancel: Callable[[], NoReturn] | None = None

    async def verdict(self) -> V:
        """Wait for the verdict.

        Cancelled only while the store has not taken the ticket up; the ticket is then withdrawn.
        """
        if self._verdict is None:
            self._asker = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._try_to_withdraw)
        if self._verdict is None:  # pragma: no cover - only `answer` and cancellation reschedule
            raise AssertionError("a ticket was rescheduled without a verdict")
        return self._verdict.unwrap()

    def _try_to_withdraw(self, raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        if self._stage is _Stage.WAITING:
            self._stage = _Stage.WITHDRAWN
            return trio.lowlevel.Abort.SUCCEEDED
        self._raise_cancel = raise_cancel
        return trio.lowlevel.Abort.FAILED

    def take(self) -> bool:
        """Take the ticket up (the store's side); False if it has been withdrawn."""
        if self._stage is not _Stage.WAITING:
            return False
        self._stage = _Stage.TAKEN
        return True

    def put_back(self) -> bool:
        """Let a ticket that was taken wait again; False if its asker wanted to leave meanwhile."""
        if self._stage is not _Stage.TAKEN:
            return False
        if self._raise_cancel is None or self._asker is None:
            self._stage = _Stage.WAITING
            return True
        self._stage = _Stage.WITHDRAWN
        trio.lowlevel.reschedule(self._asker, outcome.capture(self._raise_cancel))
        return False

    def answer(self, verdict: outcome.Outcome[V]) -> bool:
        """Give the verdict, once; never blocks, never raises. False if there was one already."""
        if self._stage not in {_Stage.WAITING, _Stage.TAKEN}:
            return False
        self._stage = _Stage.ANSWERED
        self._verdict = verdict
        if self._asker is not None:
            trio.lowlevel.reschedule(self._asker)
        return True


@attrs.frozen
class Door:
    """An actor's way to the store; the store ends when the last door is closed."""

    _mailbox: trio.MemorySendChannel[Ticket[object]]

    async def ask(self, question: Question[V]) -> V:
        """Ask the store and wait for its verdict.

        Raises StoreUnavailable when the store cannot commit, StoreEnded when it has gone; the
        change may or may not stand. Cancelled means that the question was never taken up.
        """
        ticket = Ticket(question)
        try:
            await self._mailbox.send(ticket)  # type: ignore[arg-type] # a ticket keeps its own V
        except trio.BrokenResourceError:
            raise StoreEnded("the store has ended") from None
        return await ticket.verdict()

    def clone(self) -> "Door":
        """Return another door to the same store, to be closed on its own."""
        return Door(self._mailbox.clone())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mailbox.close()


def open_mailbox() -> tuple[Door, trio.MemoryReceiveChannel[Ticket[object]]]:
    """Return the first door to a store, and the mailbox behind it."""
    sending, receiving = trio.open_memory_channel[Ticket[object]](MAILBOX_SIZE)
    return Door(sending), receiving
