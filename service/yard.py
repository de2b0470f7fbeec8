"""Where tasks are performed that may have to be left behind.

Theory of operation
-------------------
Structured concurrency has every caller wait for what it called. A task that ignores cancellation (a
shield without a deadline, an `except` that swallows Cancelled) would so hold its runner for ever,
and with it the end of the service. Therefore a runner does not work itself. It employs a hand, in
the yard, a nursery around the whole house, and waits for it as if it had called it; only that its
patience with a stint that should have ended is bounded.

A hand does stint after stint, so that no task is started for each. When it is left behind, what it
is at goes on, without anybody to listen, until it ends or the process does; the hand then goes
home, and its employer has long since employed another. That a stint goes on is known to the
supervisor, who ends the process without it.

A nursery that a stint leaves open stays with the hand's task, where it would get in the way of the
next one's, and trio has such a task end in an error. So this hand goes home in the same step, as if
it were left behind; its error is no news, and what still runs in the nursery is a stray.

The employer's look at the hand is never due later than the stint should end. A stint that begins
puts the look forward if need be, which with stints of one length happens once; a look that finds
another stint than it was meant for is put off.
"""

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import attrs
import outcome
import trio

__all__ = ["PATIENCE_SECONDS", "Hand", "Stint", "Yard"]

PATIENCE_SECONDS: Final = 0.5
"""From the moment at which a stint should have ended until it is left behind."""


@attrs.define(eq=False)
class Stint:
    """One piece of a hand's work; what is done within should end in time, and when interrupted."""

    ends_at: float
    """On trio's clock."""
    instead: "Callable[[Stint], Awaitable[None]]"
    """What the employer does when it is left behind."""
    _hand: "Hand"
    is_interrupted: bool = False
    is_left_behind: bool = False
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def interrupt(self) -> None:
        """Cancel it: it should end now."""
        self.is_interrupted = True
        self._scope.cancel()
        now = trio.current_time()
        if now < self.ends_at:  # else it was looked for already, and has its patience
            self.ends_at = now
            self._hand.look_by(now)

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._hand.finish(self)
        return self._scope.__exit__(kind, error, trace)


@attrs.define(eq=False)
class Hand:
    """Someone at work in the yard."""

    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _gone: trio.Event = attrs.field(factory=trio.Event)
    _verdict: outcome.Outcome[None] = attrs.field(factory=lambda: outcome.Value(None))
    _stint: Stint | None = None
    _look: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    left_open: list[trio.Nursery] = attrs.field(factory=list, init=False)
    """What its stint left open; it must go home at once, without a checkpoint."""

    def begin(
        self, name: str, *, seconds: float, instead: Callable[[Stint], Awaitable[None]]
    ) -> Stint:
        """Return the stint that is to be entered next; it ends itself within `seconds`.

        While it goes on, and until the next one begins, the hand's task has its `name`. When it is
        left behind the employer does `instead`, whether or not it is cancelled itself.
        """
        trio.lowlevel.current_task().name = name
        is_late = self._scope.cancel_called
        ends_at = trio.current_time() + (0 if is_late else seconds)
        self._stint = Stint(ends_at, instead, self, is_interrupted=is_late)
        self.look_by(ends_at)
        return self._stint

    def finish(self, stint: Stint) -> None:
        """Be at nothing that could be left behind; unless that leaves something open."""
        self.left_open = trio.lowlevel.current_task().child_nurseries
        if self.left_open:
            stint.is_left_behind = True
        else:
            self._stint = None

    def look_by(self, moment: float) -> None:
        """Have the employer look by then, on trio's clock."""
        if moment < self._look.deadline:  # noqa: PLR1730 - to set it, even to the same, costs more
            self._look.deadline = moment

    def dismiss(self) -> None:
        """Cancel all that it does."""
        self._scope.cancel()
        if self._stint is not None:
            self._stint.interrupt()

    async def work(self, work: "Callable[[Hand], Awaitable[None]]") -> None:
        """Do all its work; an error is its employer's to hear."""
        try:
            with self._scope:
                await work(self)
        except Exception as error:  # noqa: BLE001 - it is raised to the employer
            self._verdict = outcome.Error(error)
        finally:
            self._gone.set()

    async def overseen(self) -> Stint | None:
        """Wait until it has gone, and raise its error; or until its stint is left behind.

        A hand may have gone because of what its stint left open: that is left behind, too.
        """
        suspect: Stint | None = None
        while True:
            with trio.CancelScope(deadline=self._next_look(suspect)) as self._look:
                await self._gone.wait()
                self._verdict.unwrap()
                return self._stint
            stint = self._stint
            if stint is None or stint.ends_at > trio.current_time():
                suspect = None
            elif stint is suspect:
                stint.is_left_behind = True
                self._scope.cancel()
                return stint
            else:  # patience begins only now: the loop itself may have been held
                suspect = stint

    def _next_look(self, suspect: Stint | None) -> float:
        if suspect is not None:
            return trio.current_time() + PATIENCE_SECONDS
        return math.inf if self._stint is None else self._stint.ends_at


@attrs.define(eq=False)
class Yard:
    """Has work done that may be left behind."""

    _nursery: trio.Nursery
    _homes: list[trio.Nursery] = attrs.field(factory=list, init=False)
    """Where hands live, and what their stints left open."""

    @property
    def strays(self) -> list[str]:
        """The names of the tasks that go on; to be asked when nobody is employed any more."""
        return sorted(task.name for home in self._homes for task in home.child_tasks)

    async def employ(self, work: Callable[[Hand], Awaitable[None]]) -> None:
        """Have `work` done by a hand, and by another whenever one is left behind.

        Raises what the hand does. When cancelled the hand is, too, and Cancelled is raised once it
        has gone or was left behind.
        """
        while (left := await self._employ_one(work)) is not None:
            await left.instead(left)
            del left  # what was left may end, and be large

    async def _employ_one(self, work: Callable[[Hand], Awaitable[None]]) -> Stint | None:
        await trio.lowlevel.checkpoint_if_cancelled()
        hand = Hand()
        self._nursery.start_soon(self._house, hand, work)
        try:
            return await hand.overseen()
        except trio.Cancelled:  # noqa: ASYNC103 - with a stint left behind, the next one raises it
            hand.dismiss()
            with trio.CancelScope(shield=True):
                left = await hand.overseen()
            if left is None:
                raise
            return left  # noqa: ASYNC104 - as above

    async def _house(self, hand: Hand, work: Callable[[Hand], Awaitable[None]]) -> None:
        """Keep from the yard the error in which trio ends a hand that has something left open."""
        try:
            async with trio.open_nursery() as home:
                self._homes.append(home)
                home.start_soon(hand.work, work)
        except* RuntimeError:
            self._homes += hand.left_open
        finally:
            self._homes = [home for home in self._homes if home.child_tasks]
