"""What is read of a collector's answer: not more, and not longer, than anyone needs."""

import time
from typing import Final

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

__all__ = ["beginning_of"]

BYTES: Final = 64 * 1024
SECONDS: Final = 5.0


def beginning_of(answer: BaseHTTPResponse, seconds: float = SECONDS) -> bytes:
    """Return the body, as far as it comes in `seconds` and `BYTES`; its connection ends there.

    An answer is told by its status. Its body may be anything, and has no end when it is no
    collector that answers.
    """
    deadline = time.monotonic() + seconds
    body = b""
    try:
        while more := answer.read1(BYTES):
            body += more
            if len(body) >= BYTES or time.monotonic() >= deadline:
                answer.close()
                break
    except HTTPError:
        answer.close()
    return body[:BYTES]
