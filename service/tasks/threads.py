"""Plain functions of tasks, called in a thread."""

from collections.abc import Callable

import trio
from outcome import Outcome, capture

__all__ = ["in_thread"]


async def in_thread(function: Callable[[], object], threads: trio.CapacityLimiter | None) -> object:
    """Return what `function` returns, even a coroutine, when called in one of `threads`.

    None are trio's. Raises what it raised. Cancelled leaves it behind: it goes on in its thread,
    unheard.
    """
    done: list[Outcome[object]] = []  # emptied below: what raises must not hold the error too
    await trio.to_thread.run_sync(
        lambda: done.append(capture(function)), abandon_on_cancel=True, limiter=threads
    )
    return done.pop().unwrap()
