"""The handle on the runners: stop hiring, cancel one run, see how far it is, cut the last words."""

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import attrs
import trio

from service.messages import Headway

T = TypeVar("T")


@attrs.define(eq=False)
class _Work:
    """What is done for one claim of a run."""

    claim: int
    interrupt: Callable[[], None]
    headway: Headway | None = None


@attrs.define(eq=False)
class Pool:
    """Who waits for work, who works on which run, and until when the store may be told."""

    _hires: bool = True
    _idle: set[trio.CancelScope] = attrs.field(factory=set)
    _working: dict[str, _Work] = attrs.field(factory=dict)
    """By the run."""
    _speaking: set[trio.CancelScope] = attrs.field(factory=set)
    _silent_at: float = math.inf

    @property
    def hires(self) -> bool:
        """Whether runners may look for more work."""
        return self._hires

    async def while_hiring(self, wait: Callable[[], Awaitable[T]]) -> T | None:
        """Wait for work; when hiring stops the wait is cancelled, and None returned."""
        with trio.CancelScope() as scope:
            if not self._hires:
                scope.cancel()
            self._idle.add(scope)
            try:
                return await wait()
            finally:
                self._idle.discard(scope)
        return None

    @contextmanager
    def working_on(self, run_id: str, claim: int, interrupt: Callable[[], None]) -> Iterator[None]:
        """Hold the work on a run, which `cancel` ends by `interrupt`."""
        work = self._working[run_id] = _Work(claim, interrupt)
        try:
            yield
        finally:
            if self._working.get(run_id) is work:  # else another has begun with the run
                self.let_go(run_id)

    def let_go(self, run_id: str) -> None:
        """Forget the work on a run, though it may go on."""
        self._working.pop(run_id, None)

    def note_headway(self, run_id: str, claim: int, headway: Headway) -> None:
        """Keep how far a run is, while it is worked on for this claim; from any thread."""
        work = self._working.get(run_id)
        if work is not None and work.claim == claim:
            work.headway = headway

    def headway(self, run_id: str) -> Headway | None:
        """Return how far a run is, if someone is at it and has said so."""
        work = self._working.get(run_id)
        return None if work is None else work.headway

    @contextmanager
    def last_word(self) -> Iterator[trio.CancelScope]:
        """Hold a shield under which the store is told how a run ended."""
        with trio.CancelScope(shield=True, deadline=self._silent_at) as scope:
            self._speaking.add(scope)
            try:
                yield scope
            finally:
                self._speaking.discard(scope)

    def stop_hiring(self) -> None:
        """Send home the runners that wait for work; those at work go when they are done."""
        self._hires = False
        for scope in self._idle:
            scope.cancel()

    def cancel(self, run_id: str) -> None:
        """End the work on a run, if a runner is at it; the store must have been told before."""
        work = self._working.get(run_id)
        if work is not None:
            work.interrupt()

    def silence_at(self, deadline: float) -> None:
        """Set when, on trio's clock, last words end even if the store has not heard them."""
        self._silent_at = deadline
        for scope in self._speaking:
            scope.deadline = deadline
