"""Where tasks are performed that may have to be left behind.

Theory of operation
-------------------
Structured concurrency has every caller wait for what it called. A task that ignores cancellation (a
shield without a deadline, an `except` that swallows Cancelled) would so hold its runner for ever,
and with it the end of the service. Therefore a task is not called by its runner but started in the
yard, a nursery around the whole house, and the runner waits for it as if it had called it; only
that its patience with a task that should have ended is bounded.

What was left behind goes on, without anybody to listen, until it ends or the process does. That it
holds the yard open is known to the supervisor, who ends the process without it.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import attrs
import outcome
import trio

__all__ = ["PATIENCE_SECONDS", "LeftBehind", "Yard"]

PATIENCE_SECONDS: Final = 0.5
"""From the moment at which a task should have ended until it is left behind."""

T = TypeVar("T")


class LeftBehind(Exception):
    """What was called did not end when it should have, and goes on unheard."""


@attrs.define(eq=False)
class _Call(Generic[T]):
    function: Callable[[], Awaitable[T]]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ended: trio.Event = attrs.field(factory=trio.Event)
    verdict: outcome.Outcome[T] | None = None

    async def perform(self) -> None:
        try:
            with self.scope:
                self.verdict = outcome.Value(await self.function())
        except Exception as error:  # noqa: BLE001 - it is raised to the caller
            self.verdict = outcome.Error(error)
        finally:
            self.ended.set()


@attrs.define(eq=False)
class Yard:
    """Calls functions that may be left behind."""

    _nursery: trio.Nursery

    @property
    def strays(self) -> list[str]:
        """The names of what has not ended, by which calls were named."""
        return sorted(task.name for task in self._nursery.child_tasks)

    async def call(self, function: Callable[[], Awaitable[T]], *, name: str, seconds: float) -> T:
        """Call `function`, which ends itself within `seconds`.

        Raises LeftBehind when it does not. When the caller is cancelled the function is, and
        Cancelled is raised once it has ended or was left behind; a function that returns in spite
        of cancellation has returned.
        """
        call = _Call(function)
        self._nursery.start_soon(call.perform, name=name)
        try:
            with trio.move_on_after(seconds):
                await call.ended.wait()
            if not call.ended.is_set():
                with trio.move_on_after(
                    PATIENCE_SECONDS
                ):  # anew: the loop itself may have been held
                    await call.ended.wait()
        except trio.Cancelled:  # noqa: ASYNC103 - a function that has returned, has returned
            call.scope.cancel()
            with trio.move_on_after(PATIENCE_SECONDS, shield=True):
                await call.ended.wait()
            if call.verdict is None:
                raise
        call.scope.cancel()
        if call.verdict is None:
            raise LeftBehind(name)
        return call.verdict.unwrap()
