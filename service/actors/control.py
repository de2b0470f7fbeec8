"""The control actor: answers the operator's commands on a Unix socket that only its owner opens."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
import trio

from service.core.errors import ConfigError, StoreUnavailable
from service.desk import Desk
from service.observability.logs import get_logger
from service.protocol import (
    Progress,
    Refusal,
    read_question,
    write_progress,
    write_refusal,
    write_verdict,
)

__all__ = ["open_control_socket", "run_control"]

IDLE_SECONDS: Final = 10.0
"""How long an asker may take to ask, or to take what it is told."""

CONNECTIONS_MAX: Final = 32
PLACE_SECONDS: Final = 20.0
"""How long one more may wait for its place: those that only hang have left by then."""

WAITING_MAX: Final = 256
"""Who comes beyond is refused at once, so that descriptors are left for webhooks."""

ENVELOPE_BYTES: Final = 64 * 1024
"""Room for a question; an order to run a task also holds a payload, as large as a webhook's."""

_FULL: Final = f"{CONNECTIONS_MAX} other commands are connected to the service; ask again"

log = get_logger("service.control")


@contextmanager
def open_control_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at `path` with mode 0600, and remove it at the end if that can be.

    A socket that a dead service left behind is replaced. Raises ConfigError when another service
    answers at `path`, or when it cannot be opened.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            _remove_unless_alive(path)
        mask = os.umask(0o177)  # so that there is no instant at which others could connect
        try:
            listener.bind(os.fspath(path))
        finally:
            os.umask(mask)
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(f"CONTROL_SOCKET: {str(path)!r} cannot be opened: {error}") from error
    try:
        yield listener
    finally:
        listener.close()
        with suppress(OSError):  # a folder that is out of reach by now is no fault of the end
            path.unlink()


def _remove_unless_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, "another service answers there")


async def run_control(listener: socket.socket, desk: Desk, *, payload_max_bytes: int) -> None:
    """Answer questions until cancelled; connections still open are then cut."""
    places = trio.CapacityLimiter(CONNECTIONS_MAX)

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asker = _Asker(stream, payload_max_bytes + ENVELOPE_BYTES)
            with suppress(trio.BrokenResourceError):  # the asker has gone
                if not await _took_place(places):
                    await asker.send(write_refusal(_FULL))
                    return
                try:
                    await _converse(asker, desk)
                finally:
                    places.release()

    with desk.door:
        await trio.serve_listeners(
            serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
        )


async def _took_place(places: trio.CapacityLimiter) -> bool:
    if places.statistics().tasks_waiting < WAITING_MAX:
        with trio.move_on_after(PLACE_SECONDS):
            await places.acquire()
            return True
    await trio.lowlevel.checkpoint()
    return False


async def _converse(asker: "_Asker", desk: Desk) -> None:
    while line := await asker.next_line():
        await asker.send(await _reply(line, desk, asker))


@attrs.define
class _Asker:
    """The other end of a connection."""

    stream: trio.SocketStream
    line_max_bytes: int
    _buffer: bytearray = attrs.field(factory=bytearray)

    async def tell(self, progress: Progress) -> None:
        """Send how far something is; raises as `send`."""
        await self.send(write_progress(progress))

    async def send(self, line: bytes) -> None:
        """Send a line. Raises BrokenResourceError when the asker has gone, or does not read it."""
        with trio.move_on_after(IDLE_SECONDS):
            await self.stream.send_all(line)
            return
        raise trio.BrokenResourceError("what is sent is not read")

    async def next_line(self) -> bytes | None:
        """Return the next line, or None at the end, on a line too long, or when none comes."""
        seen = 0
        with trio.move_on_after(IDLE_SECONDS):
            while len(self._buffer) <= self.line_max_bytes:
                end = self._buffer.find(b"\n", seen) + 1
                if end:
                    line = bytes(self._buffer[:end])
                    del self._buffer[:end]
                    return line
                seen = len(self._buffer)
                more = await self.stream.receive_some()
                if not more:
                    return None
                self._buffer += more
        return None


async def _reply(line: bytes, desk: Desk, asker: _Asker) -> bytes:
    try:
        return write_verdict(await desk.serve(read_question(line), asker.tell))
    except (ValueError, Refusal, StoreUnavailable) as error:
        return write_refusal(str(error))
    except Exception as error:  # no question may end the service
        log.exception("a question failed")
        return write_refusal(f"the question failed: {type(error).__name__}: {error}")
