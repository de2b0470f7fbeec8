"""One exchange with another service: a request, and an answer that is bounded in time and size.

Paths, queries and headers may hold secrets: only method and host are named.
"""

import zlib
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import attrs
import trio

from service.observability.exceptions import name_of
from service.observability.traces import current_context, outbound_span
from service.tasks.outbound import Realm

if TYPE_CHECKING:
    import httpx

__all__ = ["Call", "Failed", "HttpError", "error_of", "exchange"]

CLOSE_SECONDS: Final = 1.0
_GZIP: Final = 47  # zlib's number for: find out whether it is gzip or zlib


class HttpError(Exception):
    """A request did not succeed; `status` is what the server answered, None if it did not."""

    def __init__(self, message: str, response: "httpx.Response | None" = None) -> None:
        super().__init__(message)
        self.response = response
        self.status = None if response is None else response.status_code


class _TooLarge(Exception):
    pass


@attrs.frozen(kw_only=True)
class Call:
    """A request, and how it is made."""

    request: "httpx.Request"
    seconds: float
    retries: int
    max_bytes: int

    @property
    def place(self) -> str:
        """What may be said of it to everyone."""
        return f"{self.request.method} {self.request.url.host}"

    @property
    def realm(self) -> Realm:
        """What it shares its limits with."""
        url = self.request.url
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        first = url.path.split("/", 2)[1] if "/" in url.path else ""
        return origin, self.request.headers.get("authorization", ""), first


@attrs.frozen
class Failed:
    """A try without an answer."""

    what: str
    passes: bool
    error: Exception | None = None


async def exchange(client: "httpx.AsyncClient", call: Call) -> "httpx.Response | Failed":
    """Make one try, in a span of its own; return the answer, its body read, or why there is none.

    Cancelled closes the connection.
    """
    import httpx  # noqa: PLC0415 - the client has it by now

    request = call.request
    with outbound_span(request.method, str(request.url)) as span:
        if context := current_context():
            request.headers["traceparent"] = context
        try:
            with trio.move_on_after(call.seconds):
                response = await _answer(client, call)
                span.received(response.status_code)
                return response
            failed = Failed(f"no answer within {call.seconds:g} s", passes=True)
        except _TooLarge:
            failed = Failed(f"the answer is larger than {call.max_bytes:,} bytes", passes=False)
        except httpx.HTTPError as error:
            reached = isinstance(error, httpx.TransportError)
            ours = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
            failed = Failed(_words(error), passes=reached and not ours, error=error)
        span.failed("timeout" if failed.error is None else name_of(failed.error))
        return failed


async def _answer(client: "httpx.AsyncClient", call: Call) -> "httpx.Response":
    """Send the request and read the answer, bounded; return it as if it had come at once."""
    import httpx  # noqa: PLC0415 - as above

    streamed = await client.send(call.request, stream=True)
    raw = bytearray()
    try:
        with trio.CancelScope() as enough:
            async for chunk in streamed.aiter_raw():
                raw += chunk
                if len(raw) > call.max_bytes:
                    enough.cancel()  # the library's generators have to be left from within
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(httpx.HTTPError):
            await streamed.aclose()
    if len(raw) > call.max_bytes:
        raise _TooLarge
    headers = [
        (name, value)
        for name, value in streamed.headers.multi_items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    ]
    body = bytes(raw)
    if streamed.headers.get("content-encoding") == "gzip":
        body = _inflated(body, call)
    return httpx.Response(
        streamed.status_code, headers=headers, content=body, request=streamed.request
    )


def _inflated(body: bytes, call: Call) -> bytes:
    import httpx  # noqa: PLC0415 - as above

    try:
        inflated = zlib.decompressobj(_GZIP).decompress(body, call.max_bytes + 1)
    except zlib.error as error:
        raise httpx.DecodingError("the answer is not the gzip that it says") from error
    if len(inflated) > call.max_bytes:
        raise _TooLarge
    return inflated


def error_of(call: Call, answer: "httpx.Response | Failed", tries: int) -> HttpError:
    """Return what to raise after so many tries, of which this is the last one's end."""
    often = "" if tries == 1 else f", the last of {tries} tries"
    if isinstance(answer, Failed):
        raised = HttpError(f"{call.place}: {answer.what}{often}")
        raised.__cause__ = answer.error
        return raised
    with suppress(ValueError):  # a status that nobody has registered
        phrase = HTTPStatus(answer.status_code).phrase
        return HttpError(f"{call.place}: {answer.status_code} {phrase}{often}", answer)
    return HttpError(f"{call.place}: {answer.status_code}{often}", answer)


def _words(error: Exception) -> str:
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
