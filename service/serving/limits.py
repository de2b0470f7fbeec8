"""What clients may cost: one number each, and the room that large bodies share."""

import attrs
import trio

__all__ = ["Limits", "Room"]


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of the server; the defaults are for GitHub's webhooks behind a proxy.

    Of memory, bodies take at most `connections` times (`small_body_bytes` + one packet of 64 KiB)
    plus twice `large_bodies_bytes` (what has come, and the handler's copy), and whatever handlers
    make of them.
    """

    body_bytes: int = 25 * 2**20
    """A larger body is refused with 413."""
    small_body_bytes: int = 64 * 2**10
    """A body up to this size never waits; a larger one waits for room."""
    large_bodies_bytes: int = attrs.field(default=64 * 2**20)
    """The room that large bodies share, from their first packets until their handler has ended."""
    head_bytes: int = 16 * 2**10
    """A request whose headers have not ended within it is refused with 431."""
    connections: int = 1000
    """Beyond it, and beyond what the descriptor limit allows, clients wait to be accepted."""
    head_seconds: float = 10
    """From the first byte of a request to the end of its headers; then 408."""
    body_seconds: float = 30
    """To receive a whole body (then 408), and before that to wait for room (then 503)."""
    keep_alive_seconds: float = 75
    """An idle connection is closed after it: later than proxies do, commonly after 60."""
    write_seconds: float = 10
    """A client that does not read what it is sent is cut off after it."""
    linger_seconds: float = 2
    """To let a client that was refused while it was still sending read why."""
    grace_seconds: float = 10
    """From stop to the end of the last connection."""

    @large_bodies_bytes.validator
    def _holds_the_largest(self, _: object, value: int) -> None:
        if value < self.body_bytes:
            raise ValueError(f"large_bodies_bytes: {value} is less than one body_bytes")


class Room:
    """Bytes that large bodies share; who came first is served first, however large."""

    def __init__(self, size_bytes: int) -> None:
        self._free = size_bytes
        self._turn = trio.StrictFIFOLock()
        self._returned = trio.lowlevel.ParkingLot()

    async def take(self, size_bytes: int) -> None:
        """Wait until `size_bytes` are free and take them; when cancelled, nothing was taken."""
        async with self._turn:
            while self._free < size_bytes:
                await self._returned.park()
            self._free -= size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Return what was taken."""
        self._free += size_bytes
        self._returned.unpark_all()
