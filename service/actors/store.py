"""The store actor: the sole owner of the database, answering questions in groups.

Theory of operation
-------------------
Whatever waits in the mailbox while one group commits is the next group: no timer, no polling, and
one fsync serves them all. Every ticket of a group is answered after its COMMIT, never before.

Claims are the exception. They wait, parked, until a run is due, and ride in whatever group comes
next, so the group that enqueues a run also hands it to an idle runner. When nothing comes, the
store wakes at the next due instant. Parked claims outlive a full disk: they are put back and tried
again.

A runner says how its run ended and claims the next one in one breath, and is heard in the next
group. So that a rush of new runs, however many send them, cannot slow the runners down, a group
takes in only some of those for each claim; the others wait for the groups after it.

A backup copies its pages between two groups, a few for each time that it asks.

The store ends when its last door is closed, and is to be run in a shielded scope: cancellation is
not its way out. When it crashes, its counter is closed, so that nobody waits for an answer that
will never come.
"""

import contextlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import attrs
import outcome
import trio

from service.core.errors import BackupFailed, StoreEnded, StoreUnavailable
from service.core.limits import Limits
from service.core.run import Run
from service.door import MAILBOX_SIZE, Ticket
from service.hop import Hop
from service.messages import Claim, Enqueue, Probe, Question
from service.observability.logs import get_logger
from service.observability.metrics import group_committed, group_lost
from service.storage import queries
from service.storage.backup import COPYING, Copier
from service.storage.database import Database
from service.storage.group import answer_all

__all__ = ["run_store"]

GROUP_MAX: Final = 256
"""Questions that share a transaction; bounds how long the first of them waits for the last."""

NEW_RUNS_PER_CLAIM: Final = 2
"""While runners want work, a group takes in so many new runs for each of them."""

FETCHED_MAX: Final = 4 * MAILBOX_SIZE
"""Questions that wait at the counter: behind so many new runs those who want work are found."""

NEW_RUNS_MIN: Final = 16
"""However few runners want work, a group may take in so many new runs."""

PATIENCE_SECONDS: Final = 10.0
"""How long the disk may take before those who wait for it are told that it is unavailable."""

RETRY_SECONDS: Final = 1.0
"""Pause before parked claims are tried again after a group was lost."""

PROBE_AFTER_SECONDS: Final = 10.0
"""A write as young as this proves that the store commits."""

LONGEST_SLEEP_SECONDS: Final = 30.0
"""The wall clock, by which runs are due, may jump: it is looked at this often at least."""

T = TypeVar("T")

log = get_logger("service.store")


async def run_store(
    mailbox: trio.MemoryReceiveChannel[Ticket[object]],
    database: Database,
    *,
    limits: Mapping[str, Limits],
    now: Callable[[], datetime],
    hop: Hop,
) -> None:
    """Answer questions until the last door is closed, then close the database.

    Runs are given out under the `limits` of their jobs; a job that is not named has none.

    Raises StoreBroken when the disk can no longer be trusted. Run it shielded from cancellation.
    """
    copier = Copier(database)
    counter = _Counter(mailbox, database, copier, queries.Queue(limits), now, hop)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(counter.keep_patience)
            await counter.serve()
            nursery.cancel_scope.cancel()
    finally:
        counter.close()
        copier.close()
        database.close()


@attrs.frozen
class _Served:
    """What a group came to: a verdict for each question, and runs for the claims."""

    verdicts: Sequence[outcome.Outcome[object]]
    runs: Sequence[Run]
    next_due: datetime | None
    wrote: bool


def _serve_group(
    database: Database,
    queue: queries.Queue,
    questions: Sequence[Question[object]],
    claims: int,
    now: datetime,
) -> _Served:
    """Answer a group in one transaction; on return it is on disk."""
    changes_before = database.connection.total_changes
    with database.transaction() as db:
        verdicts = answer_all(database, questions, now)
        runs = queue.claim(db, now, claims) if claims else []
        next_due = queue.next_due(db, now) if len(runs) < claims else None
    wrote = database.connection.total_changes > changes_before
    try:
        return _Served(verdicts, runs, next_due, wrote)
    finally:
        del verdicts  # an error holds the frames that it passed, which must not hold it


@attrs.define(eq=False)
class _Counter:
    """Where tickets are taken up and answered."""

    _mailbox: trio.MemoryReceiveChannel[Ticket[object]]
    _database: Database
    _copier: Copier
    _queue: queries.Queue
    _now: Callable[[], datetime]
    _hop: Hop
    _mail: deque[Ticket[object]] = attrs.field(factory=deque)
    _parked: deque[Ticket[object]] = attrs.field(factory=deque)
    _taken: list[Ticket[object]] = attrs.field(factory=list)
    _claiming: deque[Ticket[object]] = attrs.field(factory=deque)
    _copying: deque[Ticket[object]] = attrs.field(factory=deque)
    _hopped_at: float = math.inf
    _at_work: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    _wake_at: float = math.inf
    _retry_at: float = -math.inf
    _written_at: float = -math.inf
    _failing: bool = False

    async def serve(self) -> None:
        while True:
            try:
                await self._wait_for_mail()
            except trio.EndOfChannel:
                return
            self._fetch()
            self._admit_mail()
            await self._serve_group()
            await self._copy_pages()
            if self._database.checkpoint_is_due():
                await self._checkpoint()

    async def _wait_for_mail(self) -> None:
        """Wait until there is something to do, and a turn of the loop longer.

        So everybody who was just answered has asked the next question, if there is one.
        """
        if self._mail:
            await trio.lowlevel.checkpoint()
        else:
            with trio.move_on_at(self._wake_at):
                self._mail.append(await self._mailbox.receive())
        await trio.lowlevel.checkpoint()

    def _fetch(self) -> None:
        """Take what waits in the mailbox, without waiting for more."""
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while len(self._mail) < FETCHED_MAX:
                self._mail.append(self._mailbox.receive_nowait())

    def _admit_mail(self) -> None:
        """Admit a group of what was fetched, with no more new runs than runners keep up with."""
        mail, self._mail = self._mail, deque()
        claims = sum(isinstance(each.question, Claim) for each in mail)  # parked ones want new runs
        room = max(NEW_RUNS_MIN, claims * NEW_RUNS_PER_CLAIM) if claims else GROUP_MAX
        for ticket in mail:
            is_new_run = isinstance(ticket.question, Enqueue)
            if len(self._taken) >= GROUP_MAX or (is_new_run and room <= 0):
                self._mail.append(ticket)
                continue
            room -= is_new_run
            self._admit(ticket)

    def _admit(self, ticket: Ticket[object]) -> None:
        if isinstance(ticket.question, Claim):
            self._parked.append(ticket)
        elif isinstance(ticket.question, Probe) and self._is_known_to_write():
            ticket.answer(outcome.Value(None))
        elif ticket.take():
            (self._copying if isinstance(ticket.question, COPYING) else self._taken).append(ticket)

    def _is_known_to_write(self) -> bool:
        return not self._failing and trio.current_time() - self._written_at < PROBE_AFTER_SECONDS

    async def _serve_group(self) -> None:
        self._take_claims()
        if not self._taken and not self._claiming:
            return
        began_at, now = trio.current_time(), self._now()
        questions = [ticket.question for ticket in self._taken]
        try:
            served = await self._ask_disk(
                partial(
                    _serve_group, self._database, self._queue, questions, len(self._claiming), now
                )
            )
        except StoreUnavailable as error:
            self._lose(str(error))
            return
        if served.wrote:
            group_committed(len(questions), trio.current_time() - began_at)
        self._retry_at = -math.inf
        for ticket, verdict in zip(self._taken, served.verdicts, strict=True):
            ticket.answer(verdict)
        self._taken.clear()
        if served.runs:
            await trio.lowlevel.checkpoint()  # a run may hold the loop: the answers go out first
        for run in served.runs:
            self._claiming.popleft().answer(outcome.Value(run))
        came_meanwhile = bool(self._parked)
        self._park_claims()
        self._wake_at = -math.inf if came_meanwhile else self._alarm(served.next_due, now)
        if served.wrote:
            self._note_success()

    async def _ask_disk(self, function: Callable[[], T]) -> T:
        """Hop, while those who wait are kept in patience."""
        self._hopped_at = trio.current_time()
        self._at_work.unpark()
        try:
            return await self._hop(function)
        finally:
            self._hopped_at = math.inf

    def _take_claims(self) -> None:
        """Take up the claims; for them alone the pause after a lost group is kept."""
        if not self._taken and trio.current_time() < self._retry_at:
            return
        self._wake_at = math.inf
        self._claiming.extend(ticket for ticket in self._parked if ticket.take())
        self._parked.clear()

    def _park_claims(self) -> None:
        """Let claims that found no run wait again, ahead of those that came meanwhile."""
        waiting = [ticket for ticket in self._claiming if ticket.put_back()]
        self._claiming.clear()
        self._parked.extendleft(reversed(waiting))

    def _alarm(self, next_due: datetime | None, now: datetime) -> float:
        """Return when to wake for the parked claims, on trio's clock."""
        if not self._parked or next_due is None:
            return math.inf
        wait = max((next_due - now) / timedelta(seconds=1), 0.0)
        return trio.current_time() + min(wait, LONGEST_SLEEP_SECONDS)

    def _lose(self, reason: str) -> None:
        group_lost()
        for ticket in self._taken:
            ticket.refuse(reason)
        self._taken.clear()
        self._park_claims()
        self._wake_at = self._retry_at = trio.current_time() + RETRY_SECONDS
        if not self._failing:
            log.error("the store cannot commit", reason=reason)
        self._failing = True

    def _note_success(self) -> None:
        self._written_at = trio.current_time()
        if self._failing:
            log.info("the store commits again")
        self._failing = False

    async def _copy_pages(self) -> None:
        while self._copying:
            ticket = self._copying[0]
            verdict: outcome.Outcome[object]
            try:
                verdict = outcome.Value(
                    await self._ask_disk(partial(self._copier.serve, ticket.question))
                )
            except BackupFailed as error:
                verdict = outcome.Error(error)
            self._copying.popleft()
            ticket.answer(verdict)

    async def _checkpoint(self) -> None:
        try:
            await self._ask_disk(self._database.checkpoint)
        except StoreUnavailable as error:
            log.warning(
                "the log could not be written back; it will be tried again", reason=str(error)
            )

    async def keep_patience(self) -> None:
        """Refuse those who wait when the disk takes too long, for a group or between two."""
        late = f"the disk takes longer than {PATIENCE_SECONDS:.0f} s"
        while True:
            if self._hopped_at == math.inf:
                await self._at_work.park()
            await trio.sleep_until(min(self._hopped_at, trio.current_time()) + PATIENCE_SECONDS)
            while trio.current_time() >= self._hopped_at + PATIENCE_SECONDS:
                self._refuse_all(late)
                await trio.sleep(1)

    def _refuse_all(self, reason: str) -> None:
        """Answer everybody but the claims, which can wait."""
        for ticket in self._taken:
            ticket.refuse(reason)
        self._fetch()
        for ticket in self._mail:
            if isinstance(ticket.question, Claim):
                self._parked.append(ticket)
                self._wake_at = -math.inf
            else:
                ticket.refuse(reason)
        self._mail.clear()

    def close(self) -> None:
        """Answer all who still wait, and let nobody else in."""
        gone = StoreEnded("the store has ended")
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self._parked.append(self._mailbox.receive_nowait())
        self._mailbox.close()
        everybody = (*self._mail, *self._taken, *self._copying, *self._claiming, *self._parked)
        for ticket in everybody:
            ticket.answer(outcome.Error(gone))
