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
REDIRECTS_MAX: Final = 5

_GZIP: Final = 47  # zlib's number for: find out whether it is gzip or zlib


class HttpError(Exception):
    """A request did not succeed; `status` is what the server answered, None if it did not."""

    def __init__(self, message: str, response: "httpx.Response | None" = None) -> None:
        super().__init__(message)
        self.response = response
        self.status = None if response is None else response.status_code


class _Unwanted(Exception):
    """An answer that is not taken; its message is why."""


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
    kind: str
    """The exception's type, or `timeout`."""
    passes: bool
    error: Exception | None = None


async def exchange(
    client: "httpx.AsyncClient", call: Call, resends: int
) -> "httpx.Response | Failed":
    """Make one try, in a span of its own; return the answer, its body read, or why there is none.

    `resends` is how many tries there were before. Cancelled closes the connection.
    """
    import httpx  # noqa: PLC0415 - the client has it by now

    request = call.request
    with outbound_span(request.method, str(request.url), resends) as span:
        if context := current_context():
            request.headers["traceparent"] = context
        try:
            with trio.move_on_after(call.seconds):
                response = await _answer(client, call)
                span.received(response.status_code)
                return response
            failed = Failed(f"no answer within {call.seconds:g} s", "timeout", passes=True)
        except _Unwanted as error:
            failed = Failed(str(error), "unwanted", passes=False)
        except httpx.LocalProtocolError as error:  # its words quote the header, and so a token
            what = "LocalProtocolError: its method, address or a header is not what HTTP allows"
            failed = Failed(
                f"{what}, such as a line's end in a token", name_of(error), passes=False
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # such as a redirect's
            passes = isinstance(error, httpx.TransportError)
            passes = passes and not isinstance(error, httpx.UnsupportedProtocol)
            failed = Failed(_words(error), name_of(error), passes=passes, error=error)
        span.failed(failed.kind)
        return failed


async def _answer(client: "httpx.AsyncClient", call: Call) -> "httpx.Response":
    """Send the request, follow where it is sent, and read the answer as if it came at once."""
    import httpx  # noqa: PLC0415 - as above

    streamed = await client.send(call.request, stream=True)
    for _ in range(REDIRECTS_MAX):
        if (request := streamed.next_request) is None:
            break
        await _close(streamed)  # the library would read its body, however long
        streamed = await client.send(request, stream=True)
    raw = bytearray()
    try:
        if streamed.next_request is not None:
            raise _Unwanted(f"more than {REDIRECTS_MAX} redirects")
        with trio.CancelScope() as enough:
            async for chunk in streamed.aiter_raw():
                raw += chunk
                if len(raw) > call.max_bytes:
                    enough.cancel()  # the library's generators have to be left from within
    finally:
        await _close(streamed)  # noqa: ASYNC102 - shielded and bounded within
    headers = [
        (name, value)
        for name, value in streamed.headers.multi_items()
        if name not in {"content-encoding", "content-length", "transfer-encoding"}
    ]
    return httpx.Response(
        streamed.status_code,
        headers=headers,
        content=_decoded(bytes(raw), streamed.headers.get("content-encoding", ""), call.max_bytes),
        request=streamed.request,
    )


async def _close(streamed: "httpx.Response") -> None:
    import httpx  # noqa: PLC0415 - as above

    with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(httpx.HTTPError):
        await streamed.aclose()


def _decoded(body: bytes, coding: str, max_bytes: int) -> bytes:
    """Undo the content coding (RFC 9110 section 8.4), within bounds."""
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    match coding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflated(body, max_bytes) if body else body
        case other:
            raise _Unwanted(f"the answer is encoded as {other[:40]!r}, not as gzip")


def _inflated(body: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        inflated = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        raise _Unwanted("the answer is not the gzip that it says") from None
    if len(inflated) > max_bytes:
        raise _too_large(max_bytes)
    if inflater.unused_data or not inflater.eof:
        raise _Unwanted("the answer is not one gzip, and a whole one")
    return inflated


def _too_large(max_bytes: int) -> _Unwanted:
    return _Unwanted(f"the answer is larger than {max_bytes:,} bytes")


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
