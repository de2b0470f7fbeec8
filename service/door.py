"""The door through which actors ask the store.

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

from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import attrs
import outcome
import stamina
import stamina.instrumentation
import trio

from service.core.errors import StoreEnded, StoreUnavailable
from service.messages import Question

__all__ = ["MAILBOX_SIZE", "Door", "Ticket", "open_mailbox"]

MAILBOX_SIZE = 1024
"""Tickets that may wait for the store; further askers wait at the door, where they may leave."""

INSIST_SECONDS = 2.0
"""Longest pause before a store that cannot commit is asked again."""

ASKED_BEFORE_COMPLAINT = 3

V = TypeVar("V")

stamina.instrumentation.set_on_retry_hooks([])  # they would log each time; we complain once


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
    _verdicts: list[outcome.Outcome[V]] = attrs.field(factory=list)
    """One at most, taken out when it is told: an error must not be held by what raises it."""
    _asker: trio.lowlevel.Task | None = None
    _raise_cancel: Callable[[], NoReturn] | None = None

    async def verdict(self) -> V:
        """Wait for the verdict.

        Cancelled only while the store has not taken the ticket up; the ticket is then withdrawn.
        """
        if not self._verdicts:
            self._asker = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._try_to_withdraw)
        return self._verdicts.pop().unwrap()

    def _try_to_withdraw(self, raise_cancel: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
        if self._stage is _Stage.WAITING:
            self._stage = _Stage.WITHDRAWN
            return trio.lowlevel.Abort.SUCCEEDED
        self._raise_cancel = raise_cancel
        return trio.lowlevel.Abort.FAILED

    @property
    def withdrawn(self) -> bool:
        """Whether it never happened."""
        return self._stage is _Stage.WITHDRAWN

    def withdraw(self) -> None:
        """Take the question back, unless the store has taken it up."""
        if self._stage is _Stage.WAITING:
            self._stage = _Stage.WITHDRAWN

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
        self._verdicts.append(verdict)
        if self._asker is not None:
            trio.lowlevel.reschedule(self._asker)
        return True

    def refuse(self, reason: str) -> None:
        """Answer by an error of its own: one that many raise would hold on to them all."""
        self.answer(outcome.Error(StoreUnavailable(reason)))


@attrs.frozen
class Door:
    """An actor's way to the store; the store ends when the last door is closed."""

    _mailbox: trio.MemorySendChannel[Ticket[object]]

    async def ask(self, question: Question[V]) -> V:
        """Ask the store and wait for its verdict.

        Raises StoreUnavailable when the store cannot commit, StoreEnded when it has gone; the
        change may or may not stand. Cancelled means that the question was never taken up.
        """
        ticket = await self.post(question)
        return await ticket.verdict()

    async def post(self, question: Question[V]) -> Ticket[V]:
        """Put a question in the mailbox, for which there may be a wait; the verdict comes later.

        Whoever posts must wait for the verdict, cancelled or not: only so is it heard, or the
        ticket withdrawn. Raises StoreEnded; Cancelled means that nothing was posted.
        """
        ticket = Ticket(question)
        mailbox: trio.MemorySendChannel[Ticket[V]] = self._mailbox  # type: ignore[assignment] # a ticket keeps its own V
        try:
            try:
                mailbox.send_nowait(ticket)
            except trio.WouldBlock:
                await mailbox.send(ticket)
        except trio.BrokenResourceError:
            raise StoreEnded("the store has ended") from None
        return ticket

    async def insist(self, question: Question[V], *, complain: Callable[[str], None]) -> V:
        """Ask for what may be asked twice until the store can commit.

        `complain` is told why it cannot, once. Raises StoreEnded when the store has gone.
        Cancelled means that the question may or may not stand.
        """
        async for again in stamina.retry_context(
            on=_may_recover,
            attempts=None,
            timeout=None,
            wait_initial=0.1,
            wait_max=INSIST_SECONDS,
        ):
            with again:
                try:
                    return await self.ask(question)
                except StoreUnavailable as error:
                    if again.num == ASKED_BEFORE_COMPLAINT and _may_recover(error):
                        complain(str(error))
                    raise
        raise AssertionError("stamina ended without a verdict")  # pragma: no cover - it does not

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


def _may_recover(error: Exception) -> bool:
    return isinstance(error, StoreUnavailable) and not isinstance(error, StoreEnded)


def open_mailbox() -> tuple[Door, trio.MemoryReceiveChannel[Ticket[object]]]:
    """Return the first door to a store, and the mailbox behind it."""
    sending, receiving = trio.open_memory_channel[Ticket[object]](MAILBOX_SIZE)
    return Door(sending), receiving
