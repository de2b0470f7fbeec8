"""Notices a task that holds the event loop, while it does and when it lets go.

Theory of operation
-------------------
While one task computes or blocks, no other task of the loop moves: no request is answered, no run
is claimed, no signal is obeyed. trio tells an instrument when a step of a task ends and when the
loop begins to make steps, so how long each took is known exactly, with the task that took it. (It
would tell of each beginning, too, which costs as much again and says nothing new.)

A thread looks in between, because a step that never ends would never be told otherwise: it says
what the task is and the place in its code, once for each holding. Which task it is can be read
from the frames of the loop's thread.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import attrs
import trio

from service.observability.logs import get_logger, names_bound_in

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
    names: Mapping[str, object]
    seconds: float
    ended_at: float
    """By `time.monotonic`."""


@attrs.define(eq=False)
class LoopWatch(trio.abc.Instrument):
    """Watches the loop of the thread in which it was made."""

    root: trio.lowlevel.Task
    last: Holding | None = None
    """The last holding that has ended."""
    _is_at_work: bool = True
    """Whether tasks make steps, rather than wait for something to happen."""
    _since: float = attrs.field(factory=time.monotonic)
    """When the step began that is being made."""
    _thread: int = attrs.field(factory=threading.get_ident)
    _closing: threading.Event = attrs.field(factory=threading.Event)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Note that steps begin: trio calls this."""
        self._since = time.monotonic()
        self._is_at_work = True

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Note that no more steps are made: trio calls this."""
        self._is_at_work = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Tell when a step took too long: trio calls this."""
        now = time.monotonic()
        seconds = now - self._since
        self._since = now
        if seconds > HELD_SECONDS:
            self._let_go(task, seconds, now)

    def _let_go(self, task: trio.lowlevel.Task, seconds: float, now: float) -> None:
        self.last = Holding(task.name, names_bound_in(task.context), seconds, now)
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
            since = self._since
            seconds = time.monotonic() - since
            if not self._is_at_work or seconds <= HELD_SECONDS or since == told:
                continue
            task = self._running()
            if task is None:
                continue
            told = since
            log.warning(
                "a task holds the event loop",
                task=task.name,
                seconds=round(seconds, 3),
                place=self._place(),
                **names_bound_in(task.context),
            )

    def _running(self) -> trio.lowlevel.Task | None:
        """Return the task whose step the loop's thread is in, None between two steps."""
        frames = set()
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way
        while frame is not None:
            frames.add(frame)
            frame = frame.f_back
        try:
            return next((each for each in _family(self.root) if _frame_of(each) in frames), None)
        except RuntimeError:  # what is walked through has changed: the loop goes on
            return None

    def _place(self) -> str:
        """Return the innermost place in the code that the loop's thread is at."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way
        if frame is None:
            return "?"
        return f"{frame.f_globals.get('__name__')}:{frame.f_lineno} in {frame.f_code.co_qualname}"

    def close(self) -> None:
        """End `look`."""
        self._closing.set()


def _family(root: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield a task and all that it has started."""
    tasks = [root]
    while tasks:
        task = tasks.pop()
        yield task
        for nursery in task.child_nurseries:
            tasks.extend(nursery.child_tasks)


def _frame_of(task: trio.lowlevel.Task) -> object:
    return getattr(task.coro, "cr_frame", None)


@contextmanager
def watched_loop() -> Iterator[LoopWatch]:
    """Watch the loop that runs. Raises RuntimeError outside of `trio.run`."""
    root = trio.lowlevel.current_root_task()
    if root is None:
        raise RuntimeError("no loop runs that could be watched")
    watch = LoopWatch(root)
    thread = threading.Thread(target=watch.look, name="loop watch", daemon=True)
    trio.lowlevel.add_instrument(watch)
    thread.start()
    try:
        yield watch
    finally:
        watch.close()
        trio.lowlevel.remove_instrument(watch)
