"""An answer as it goes over the wire (RFC 9112): whole, in one piece, and of the length it has."""

import re
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from time import time
from typing import Final, TypeAlias

from hypercorn.utils import suppress_body

__all__ = ["Fields", "write_answer"]

Fields: TypeAlias = "Iterable[tuple[bytes, bytes]]"
"""Names and values of header fields."""

_FRAME: Final = {b"content-length", b"transfer-encoding", b"connection"}
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*\r\n)*")


def write_answer(method: str, status: int, fields: Fields, body: bytes, *, is_last: bool) -> bytes:
    """Return the answer to a request of `method`; where it ends is told here, not by `fields`.

    Raises ValueError for fields that would break the answer.
    """
    lines = [b"%b: %b\r\n" % (name, value) for name, value in fields if name not in _FRAME]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or not _FIELDS.fullmatch(head):
        raise ValueError("a header field of the answer is not HTTP")
    return b"HTTP/1.1 %d \r\n%bcontent-length: %d\r\ndate: %b\r\n%b\r\n%b" % (
        status,
        head,
        len(body),
        _date(int(time())),
        b"connection: close\r\n" if is_last else b"",
        b"" if suppress_body(method, status) else body,
    )


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
