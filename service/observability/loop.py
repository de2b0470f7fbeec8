"""Notices a task that holds the event loop, while it does and when it lets go.

Theory of operation
-------------------
While one task computes or blocks, no other task of the loop moves: no request is answered, no run
is claimed, no signal is obeyed. trio tells an instrument when a task's step begins and when it
ends, so the end of a long step is seen exactly, with the task that took it. A thread looks in
between, because a step that never ends would never be told otherwise: it says what the task is and
the place in its code where it is held, once for each holding.

It costs each step of a task 1 to 2 µs where the shortest step there is takes 5 to 7 µs.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import attrs
import trio
from structlog.contextvars import STRUCTLOG_KEY_PREFIX

from service.observability.logs import get_logger

__all__ = ["HELD_SECONDS", "Holding", "LoopWatch", "watched_loop"]

HELD_SECONDS: Final = 0.5
"""A step of a task that takes longer is told."""

GRAVE_SECONDS: Final = 1.0
"""Whoever asks for health in a holding of this length gets no answer within Kubernetes' timeout."""

GRAVE_FOR_SECONDS: Final = 10.0
"""So long after a grave holding those are told who did not ask during it."""

_LOOK_SECONDS: Final = HELD_SECONDS / 2

log = get_logger("service.loop")


@attrs.frozen
class Holding:
    """A task that held the loop for so many seconds, and its names."""

    task: str
    names: dict[str, object]
    seconds: float
    ended_at: float
    """By `time.monotonic`."""


@attrs.define(eq=False)
class LoopWatch(trio.abc.Instrument):
    """Watches the loop of the thread in which it was made."""

    last: Holding | None = None
    """The last holding that has ended."""
    _task: trio.lowlevel.Task | None = None
    _since: float = attrs.field(factory=time.monotonic)
    _thread: int = attrs.field(factory=threading.get_ident)
    _closing: threading.Event = attrs.field(factory=threading.Event)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Take the time: trio calls this."""
        self._since = time.monotonic()
        self._task = task

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Tell when it took too long: trio calls this."""
        self._task = None
        now = time.monotonic()
        if now - self._since > HELD_SECONDS:
            self._let_go(task, now)

    def _let_go(self, task: trio.lowlevel.Task, now: float) -> None:
        seconds = now - self._since
        self.last = Holding(task.name, _names(task), seconds, now)
        log.warning(
            "a task held the event loop",
            task=task.name,
            seconds=round(seconds, 3),
            **self.last.names,
        )

    def held_lately(self) -> Holding | None:
        """Return the last holding, if it was long and ended a moment ago."""
        held = self.last
        if held is None or held.seconds < GRAVE_SECONDS:
            return None
        return held if time.monotonic() - held.ended_at < GRAVE_FOR_SECONDS else None

    def look(self) -> None:
        """Tell who holds the loop until `close` is called; to be run in a thread of its own."""
        told = 0.0
        while not self._closing.wait(_LOOK_SECONDS):
            task, since = self._task, self._since
            seconds = time.monotonic() - since
            if task is None or seconds <= HELD_SECONDS or since == told:
                continue
            told = since
            log.warning(
                "a task holds the event loop",
                task=task.name,
                seconds=round(seconds, 3),
                place=self._place(),
                **_names(task),
            )

    def _place(self) -> str:
        """Return the innermost place in the code that the loop's thread is at."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way
        if frame is None:
            return "?"
        return f"{frame.f_globals.get('__name__')}:{frame.f_lineno} in {frame.f_code.co_qualname}"

    def close(self) -> None:
        """End `look`."""
        self._closing.set()


def _names(task: trio.lowlevel.Task) -> dict[str, object]:
    """Return what is bound to the log lines of the task, such as its job and run.

    Its context is read, not entered: while the task holds the loop, it is in it.
    """
    return {
        variable.name.removeprefix(STRUCTLOG_KEY_PREFIX): value
        for variable, value in task.context.items()
        if variable.name.startswith(STRUCTLOG_KEY_PREFIX) and value is not Ellipsis
    }


@contextmanager
def watched_loop() -> Iterator[LoopWatch]:
    """Watch the loop that runs; enter it within `trio.run`."""
    watch = LoopWatch()
    thread = threading.Thread(target=watch.look, name="loop watch", daemon=True)
    trio.lowlevel.add_instrument(watch)
    thread.start()
    try:
        yield watch
    finally:
        watch.close()
        trio.lowlevel.remove_instrument(watch)
