"""One client's connection, and the time that each part of it may take.

Theory of operation
-------------------
The reader waits for the client, never longer than the phase it is in allows:

    IDLE ── first byte ──> HEAD ── headers end ──> BODY ── body ends ──> ANSWER ── answered ──> IDLE

When it waited too long it says so (408), if a request had begun. In ANSWER it waits for ever, to
see the client leave; the handler's task ends this phase, and moves the deadline of the reader's
wait. The reader alone ends the connection; whoever else wants that cancels its `_talk`.
"""

import os
from contextlib import suppress
from enum import Enum, auto
from math import inf

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.utils import parse_socket_addr

from service.serving.handlers import Handlers
from service.serving.http1 import Http1, Shared

__all__ = ["Connection"]

_READ_BYTES = 2**16


class _Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


class Connection:
    """A client's connection, from its acceptance to its end."""

    def __init__(self, stream: trio.SocketStream, shared: Shared) -> None:
        limits = shared.limits
        self._stream = stream
        self._shared = shared
        self._seconds = {
            _Phase.IDLE: limits.keep_alive_seconds,
            _Phase.HEAD: limits.head_seconds,
            _Phase.BODY: limits.body_seconds,
            _Phase.ANSWER: inf,
        }
        self._wait = trio.CancelScope()
        self._talk = trio.CancelScope()
        self._enter(_Phase.IDLE)

    async def run(self) -> None:
        """Answer the client's requests until either side has had enough."""
        socket = self._stream.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
            server = parse_socket_addr(socket.family, socket.getsockname())
        except OSError:  # the client left before anybody looked
            return
        handlers = Handlers()
        async with handlers:
            protocol = Http1(self._shared, handlers, (client, server), self._send, self._complete)
            with self._talk:
                await self._converse(protocol)
            await protocol.handle(Closed())
        if protocol.leaves_unread:
            await self._linger()

    def stop(self) -> None:
        """Let an idle connection end now, and any other after its answer."""
        if self._phase is _Phase.IDLE:
            self._wait.cancel()

    async def _converse(self, protocol: Http1) -> None:
        while True:
            with trio.CancelScope(deadline=self._deadline) as self._wait:
                try:
                    data = await self._stream.receive_some(_READ_BYTES)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            if self._wait.cancelled_caught:
                if self._phase is not _Phase.IDLE:
                    seconds = self._seconds[self._phase]
                    await protocol.refuse(408, f"the request was not complete in {seconds} s")
                return
            await protocol.handle(RawData(bytes(data)))
            if not data:
                return
            if self._phase is _Phase.IDLE and protocol.has_unread:
                self._enter(_Phase.HEAD)

    async def _send(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Updated):
            self._enter(_Phase.IDLE if event.idle else _Phase.BODY)
        elif isinstance(event, Closed):
            with suppress(OSError):  # the client may have left already
                self._stream.socket.shutdown(trio.socket.SHUT_WR)
            self._talk.cancel()

    def _complete(self) -> None:
        self._enter(_Phase.ANSWER)

    def _enter(self, phase: _Phase) -> None:
        self._phase = phase
        self._deadline = trio.current_time() + self._seconds[phase]
        self._wait.deadline = self._deadline

    async def _write(self, data: bytes) -> None:
        """Send, or end the connection: after half an answer nothing may follow."""
        is_sent = False
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            rest = memoryview(data)[self._write_at_once(data) :]
            is_sent = not rest or await self._write_in_time(rest)
        finally:
            if not is_sent:
                self._stream.socket.close()
                self._talk.cancel()

    def _write_at_once(self, data: bytes) -> int:
        """Return how much could be sent without waiting: as a rule all, and at less cost."""
        try:
            return os.write(self._stream.socket.fileno(), data)
        except OSError:  # there is no room, or no client: the wait will tell
            return 0

    async def _write_in_time(self, data: memoryview) -> bool:
        """Send what remains. False if the client does not read, or has left."""
        with trio.move_on_after(self._shared.limits.write_seconds):
            try:
                await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            return True
        return False

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would destroy the answer on its way.

        RFC 9112 section 9.6.
        """
        with (
            trio.move_on_after(self._shared.limits.linger_seconds),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            while await self._stream.receive_some(_READ_BYTES):
                pass
