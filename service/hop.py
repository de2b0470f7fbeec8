"""How the store's SQL leaves the event loop, and comes back.

Theory of operation
-------------------
A database connection is used by one thread, and each group crosses to it and back: twice per
commit, so the way should be short. The thread therefore waits for work as long as the store lives,
rather than being borrowed from trio's pool for each call. What was handed over is done, whatever
becomes of the asker: a commit cannot be called off, so the wait for it cannot be cancelled.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

import outcome
import trio

__all__ = ["Hop", "inline", "own_thread"]

T = TypeVar("T")


class Hop(Protocol):
    """How SQL leaves the event loop."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Call `function`, to its end even when cancelled, and return what it returns."""


async def inline(function: Callable[[], T], /) -> T:
    """Hop nowhere: for tests on a virtual clock, which would not see a thread at work."""
    await trio.lowlevel.checkpoint()
    return function()


@contextmanager
def own_thread() -> Iterator[Hop]:
    """Hold a hop to a thread of its own, one call at a time; the thread ends with the block.

    It is a daemon: a disk that never answers must not hold up the end of the process.
    """
    calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def work() -> None:
        while (call := calls.get()) is not None:
            call()
            del call  # it holds what it was called with, until the next one comes

    async def hop(function: Callable[[], T], /) -> T:
        asker = trio.lowlevel.current_task()
        loop = trio.lowlevel.current_trio_token()

        def call() -> None:
            with suppress(trio.RunFinishedError):  # nobody is left who could hear it
                loop.run_sync_soon(trio.lowlevel.reschedule, asker, outcome.capture(function))

        calls.put(call)
        verdict: T = await trio.lowlevel.wait_task_rescheduled(_not_to_be_called_off)
        return verdict

    Thread(target=work, name="store", daemon=True).start()
    try:
        yield hop
    finally:
        calls.put(None)


def _not_to_be_called_off(_raise_cancel: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
