"""What to make of a client's bytes where hypercorn and h11 leave a gap."""

from collections.abc import Iterable

import h11

__all__ = ["Parser", "content_length", "has_two_lengths", "origin_form"]

_ENDS = {h11.DONE, h11.MUST_CLOSE}


class Parser(h11.Connection):
    """Reads nothing after the last request: it is no business of the handler that runs."""

    def receive_data(self, data: bytes) -> None:
        """Take what the client sent, or drop it."""
        if self.their_state is not h11.MUST_CLOSE:
            super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next part of a request, if there is one."""
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA
        event = super().next_event()
        if isinstance(event, h11.EndOfMessage) and self.their_state not in _ENDS:
            self.send(h11.Response(status_code=426, headers=[]))  # to h11 alone: we never switch
        return event


def content_length(headers: list[tuple[bytes, bytes]]) -> int:
    """Return the size that a request declares, 0 when it does not; h11 checked that it is one."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def has_two_lengths(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a body is framed twice, as smugglers do (RFC 9112 section 6.1)."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in headers}


def origin_form(target: bytes) -> bytes | None:
    """Return the path and query of a request target, or None (RFC 9112 section 3.2)."""
    if target.startswith(b"/"):
        return target
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in {b"http", b"https"}:
        return None
    _, slash, path = rest.partition(b"/")
    return (slash or b"/") + path
