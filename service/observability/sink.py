"""The way of log lines to a file descriptor, off the loop.

Theory of operation
-------------------
`put` appends to a buffer of bounded size and returns; it never waits for the descriptor. One thread
takes whatever has gathered and writes it, so a reader that stalls stops that thread and nobody
else. What does not fit, or cannot be written, is dropped and counted, and the first write that
succeeds after a loss is followed by one line that says how many.

A line may be put before it is made. Then `MADE_TOGETHER` are made in a row, by whoever puts the
last of them, or by the writer if none were made so since it last looked: a line that is made amid
all else that a request takes, or in another thread, takes far longer, as all it touches has to come
from afar.

A line may be put from any thread and, because a finalizer may log, from *within* `put` or the
thread's own bookkeeping. So the lock is reentrant and the bell a `SimpleQueue`, whose `put` is
documented as reentrant. A count that such a nested call spoils is set right by the next `_take`.
"""

import os
import select
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, Thread
from typing import Final, TypeAlias

__all__ = ["Line", "Sink"]

Line: TypeAlias = "bytes | Callable[[], bytes]"
"""A line, newline included, or what makes it: soon, in any thread, and without ever raising."""

BUFFER_BYTES: Final = 4 * 1024 * 1024
WRITE_BYTES: Final = 64 * 1024  # what a Linux pipe holds
LINGER_SECONDS: Final = 0.05  # lines of this time go out together, behind the first
MADE_TOGETHER: Final = 128
POLL_MILLISECONDS: Final = 1000


class Sink:
    """A bounded buffer before `descriptor`, emptied by one thread.

    `say_lost` turns a number of lost lines into the line that reports them.
    """

    def __init__(
        self,
        descriptor: int,
        say_lost: Callable[[int], bytes],
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._descriptor = descriptor
        self._say_lost = say_lost
        self._buffer_bytes = buffer_bytes
        self._lock = RLock()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._latest: list[Line] = []
        self._lines: list[bytes] = []
        self._size = 0
        self._lost = 0
        self._idle = False
        self._closing = False
        self._broken_line = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue one line; never blocks and never raises."""
        with self._lock:
            self._latest.append(line)
            if len(self._latest) >= MADE_TOGETHER:
                self._keep_latest()
            ring, self._idle = self._idle, False
        if ring:
            self._bell.put(None)

    def _keep_latest(self) -> None:
        latest, self._latest = self._latest, []
        lines = _made(latest)
        if self._size + len(lines) > self._buffer_bytes:
            self._lost += len(latest)
            return
        self._lines.append(lines)
        self._size += len(lines)

    def close(self, seconds: float) -> bool:
        """Write what is left, for `seconds` at most; return whether all of it was dealt with."""
        with self._lock:
            self._closing = True
        self._bell.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            lines, lost, closing = self._take()
            if lines:
                self._deliver(lines, lost)
                with suppress(Empty):  # but at the end there is a ring
                    self._bell.get(timeout=LINGER_SECONDS)
            elif closing:
                self._deliver(lines, lost)
                return
            else:
                self._bell.get()

    def _take(self) -> tuple[list[bytes], int, bool]:
        """Take what is made, else the rest, and the number of lines lost; see the theory above.

        A loss alone waits for the next line. The last is whether no line follows.
        """
        with self._lock:
            if not (self._lines or self._latest or self._closing):
                self._idle = True
                return [], 0, False
            lines, latest, lost, closing = self._lines, [], self._lost, self._closing
            if closing or not lines:
                latest, self._latest = self._latest, []
            self._lines, self._size, self._lost = [], 0, 0
        return [*lines, _made(latest)] if latest else lines, lost, closing

    def _deliver(self, lines: list[bytes], lost: int) -> None:
        for chunk in _chunks(lines):
            lost += self._write(chunk)
        if lost and self._write(self._say_lost(lost)):
            with self._lock:
                self._lost += lost

    def _write(self, chunk: bytes) -> int:
        """Write whole lines and return how many of them did not get out."""
        # A write that failed half-way left a broken line: end it, so that it spoils no other.
        data = memoryview(b"\n" + chunk if self._broken_line else chunk)
        done = 0
        while done < len(data):
            try:
                done += os.write(self._descriptor, data[done:])
            except BlockingIOError:  # someone who shares the descriptor made it non-blocking
                self._poll.poll(POLL_MILLISECONDS)
            except OSError:  # a closed pipe, a full disk: counted, and said when it works again
                if done:
                    self._broken_line = data[done - 1] != ord("\n")
                return bytes(data[done:]).count(b"\n")
        self._broken_line = False
        return 0


def _made(lines: list[Line]) -> bytes:
    return b"".join([line if isinstance(line, bytes) else line() for line in lines])


def _chunks(lines: list[bytes]) -> Iterator[bytes]:
    """Join lines into pieces of about `WRITE_BYTES`."""
    start = size = 0
    for end, line in enumerate(lines, 1):
        size += len(line)
        if size >= WRITE_BYTES or end == len(lines):
            yield b"".join(lines[start:end])
            start, size = end, 0
