"""The signals that stop the service, heard twice: at once by a handler, and then by the loop."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from types import FrameType
from typing import Final

import trio

__all__ = ["heard_signals"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def heard_signals(
    *, at_once: Callable[[int], None], obey: Callable[[int, str], None]
) -> Iterator[None]:
    """Hear signals within the block: each calls `at_once`, and then `obey` with its name, too.

    Both are given which one it is, 1 being the first. `at_once` is called even while a task holds
    the loop, between any two of its instructions, so it must not take a lock; `obey` is called by
    the loop when it turns. After the block signals are ignored: the end has begun, its exit code
    stands, and Python would let them kill the process while it tidies up.
    """
    token = trio.lowlevel.current_trio_token()
    numbers = count(1)

    def handle(signal_number: int, _frame: FrameType | None) -> None:
        number = next(numbers)
        at_once(number)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(obey, number, signal.Signals(signal_number).name)

    for each in _SIGNALS:
        signal.signal(each, handle)
    try:
        yield
    finally:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
