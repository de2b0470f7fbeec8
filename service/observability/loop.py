"""Notices a task that holds the event loop, while it does and when it lets go.

Theory of operation
-------------------
While one task computes or blocks, no other task of the loop moves: no request is answered, no run
is claimed, no signal is obeyed. The loop runs in turns: it waits for something to happen, and then
lets each task that can move make a step. trio tells an instrument when a turn begins and ends,
which costs next to nothing; it would tell of each step, too, for 5 % of all processor time.

So a thread looks at turns that take long. A task at which two looks of one turn find the loop's
thread is holding the loop: it is told then, with the place in its code, for it may never let go;
and once more when the turn has ended. Which task it is can be read from the thread's frames.
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
"""A task that holds the loop for longer is told, though one that lets go soon after may not be."""

GRAVE_SECONDS: Final = 1.0
"""Whoever asks for health in a holding of this length gets no answer within Kubernetes' timeout."""

GRAVE_FOR_SECONDS: Final = 10.0
"""So long after a grave holding those are told who did not ask during it."""

_LOOK_SECONDS: Final = HELD_SECONDS / 4

log = get_logger("service.loop")


@attrs.frozen
class Holding:
    """A task that held the loop for so many seconds, and its names."""

    task: str
    names: dict[str, object]
    seconds: float
    ended_at: float
    """By `time.monotonic`."""


@attrs.frozen(eq=False)
class _Holder:
    """A task at which a look found the loop, in the turn that began at `turn`."""

    task: trio.lowlevel.Task
    turn: float
    since: float
    """Not later than the task began to hold the loop, on `time.monotonic`'s clock as all times."""


@attrs.define(eq=False)
class LoopWatch(trio.abc.Instrument):
    """Watches the loop of the thread in which it was made."""

    root: trio.lowlevel.Task
    last: Holding | None = None
    """The last holding that has ended."""
    _turn: float | None = None
    """When the loop's turn began; None while it waits."""
    _told: _Holder | None = None
    """Who holds the loop for so long that it has been told."""
    _thread: int = attrs.field(factory=threading.get_ident)
    _closing: threading.Event = attrs.field(factory=threading.Event)

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Note that a turn begins: trio calls this."""
        self._turn = time.monotonic()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """Note that the turn has ended, and tell if it was held: trio calls this."""
        self._turn = None
        if self._told is not None:
            self._let_go(self._told)
            self._told = None

    def _let_go(self, holder: _Holder) -> None:
        self.last = _holding(holder)
        log.warning(
            "a task held the event loop",
            task=self.last.task,
            seconds=round(self.last.seconds, 3),
            **self.last.names,
        )

    def held_lately(self) -> Holding | None:
        """Return the last holding, also of this turn, if it was long and ended a moment ago."""
        held = self.last if self._told is None else _holding(self._told)
        if held is None or held.seconds < GRAVE_SECONDS:
            return None
        return held if time.monotonic() - held.ended_at < GRAVE_FOR_SECONDS else None

    def look(self) -> None:
        """Tell who holds the loop until `close` is called; to be run in a thread of its own."""
        found: _Holder | None = None
        while not self._closing.wait(_LOOK_SECONDS):
            turn, now = self._turn, time.monotonic()
            if turn is None or now - turn < _LOOK_SECONDS:
                continue
            task = self._running()
            if task is None:
                continue
            if found is None or found.turn != turn:
                found = _Holder(task, turn, since=turn)
            elif found.task is not task:
                found = _Holder(task, turn, since=now - _LOOK_SECONDS)
            elif now - found.since > HELD_SECONDS and self._told is not found:
                self._tell(found)

    def _tell(self, found: _Holder) -> None:
        self._told = found
        if self._turn != found.turn:  # it has just ended, and the end may not have seen it
            self._told = None
            return
        log.warning(
            "a task holds the event loop",
            task=found.task.name,
            seconds=round(time.monotonic() - found.since, 3),
            place=self._place(),
            **_names(found.task),
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


def _holding(holder: _Holder) -> Holding:
    now = time.monotonic()
    return Holding(holder.task.name, _names(holder.task), now - holder.since, now)


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
