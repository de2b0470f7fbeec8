"""How a coroutine takes its steps in a context that is not its task's.

A trio task has one context (`contextvars`) for all its life. What is awaited here sees another one:
it reads what was set there, and what it sets stays there.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from functools import partial
from typing import TypeVar

__all__ = ["in_context"]

T = TypeVar("T")


@types.coroutine
def in_context(
    context: Context, coroutine: Coroutine[object, object, T]
) -> Generator[object, object, T]:
    """Await `coroutine`, each step of it in `context`; cancellation and errors pass as ever."""
    steps = coroutine.__await__()
    step: Callable[[], object] = partial(steps.send, None)
    try:
        while True:
            trap = context.run(step)
            try:
                step = partial(steps.send, (yield trap))
            except BaseException as error:  # noqa: ASYNC103, BLE001 - the coroutine gets it next
                step = partial(steps.throw, error)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        del step  # an error holds the frames that it passed, which must not hold it
