"""`ctx.http`: requests to other services, that neither trust them nor give up too soon.

Theory of operation
-------------------
Every try is bounded in time and in size. A try that failed for a reason that passes is made again,
if the method allows it (RFC 9110 section 9.2.2), after the wait that the server asks for, or else
after a growing one. A wait that is too long to hold a runner puts the run back in the queue: the
task begins anew when it is over, and its finished steps are remembered. That happens a bounded
number of times; then the attempt fails, and may be retried as often as the task allows.

A server that asks one run to wait asks them all: nobody sends to it before that.

Paths, queries and headers may hold secrets: only method and host are named.
"""

import random
import zlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

from service.core.backoff import delay_seconds
from service.core.results import RetryAfter
from service.core.throttling import asked_wait, is_worth_retrying
from service.core.wire import decode, encode
from service.observability.exceptions import name_of
from service.observability.traces import current_context, outbound_span
from service.tasks.outbound import Realm
from service.tasks.workspace import HOLD_SECONDS, Workspace

if TYPE_CHECKING:
    import httpx

__all__ = ["BODY_MAX_BYTES", "REQUEST_SECONDS", "RETRIES", "WAITS_MAX", "Http", "HttpError"]

REQUEST_SECONDS: Final = 15.0
RETRIES: Final = 3
BODY_MAX_BYTES: Final = 10 * 2**20
BACKOFF_SECONDS: Final = 0.5
WAITS_MAX: Final = 10
"""How often a run goes back to the queue because a server asks it to wait."""

_WAITS: Final = "waits that servers asked for"
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_GZIP: Final = 47  # zlib's number for: find out whether it is gzip or zlib

Params: TypeAlias = Mapping[str, str | int | float | bool | None]


class HttpError(Exception):
    """A request did not succeed; `status` is what the server answered, None if it did not."""

    def __init__(self, message: str, response: "httpx.Response | None" = None) -> None:
        super().__init__(message)
        self.response = response
        self.status = None if response is None else response.status_code


class _TooLarge(Exception):
    pass


@attrs.frozen(kw_only=True)
class _Call:
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
        url = self.request.url
        origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
        first = url.path.split("/", 2)[1] if "/" in url.path else ""
        return origin, self.request.headers.get("authorization", ""), first


@attrs.frozen
class _Failed:
    """A try without an answer."""

    what: str
    passes: bool
    error: Exception | None = None


@attrs.frozen
class Http:
    """Requests of one attempt, by the client that all tasks share."""

    _work: Workspace

    async def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | str | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 - of one try
        retries: int = RETRIES,
        retry: bool | None = None,
        max_bytes: int = BODY_MAX_BYTES,
    ) -> "httpx.Response":
        """Return the answer to a request, if it is a success (below 400), its body read.

        Each try may take `timeout` seconds, and its answer may have `max_bytes`. Up to `retries`
        further tries follow when the server is overloaded (429, 502, 503, 504, GitHub's 403 for
        its limits) or cannot be reached; by default only of methods that may be repeated, with
        `retry` also of others, or of none. `Retry-After` and GitHub's `X-RateLimit-Reset` are
        honoured, an hour at most; when that is longer than this attempt can hold its runner, the
        run goes on later, as after `ctx.sleep`.

        Raises HttpError for any other answer, and for none. Cancelled closes the connection; the
        server may have done what it was asked.
        """
        client = await self._work.outbound.client()
        method = method.upper()
        repeatable = method in _IDEMPOTENT if retry is None else retry
        request = client.build_request(
            method,
            url,
            params=params,
            headers=headers,
            content=encode(json) if json is not None and content is None else content,
        )
        if json is not None:
            request.headers.setdefault("content-type", "application/json")
        call = _Call(
            request=request,
            seconds=timeout,
            retries=retries if repeatable else 0,
            max_bytes=max_bytes,
        )
        return await self._until_answered(client, call, repeatable=repeatable)

    async def get(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 - of one try
    ) -> "httpx.Response":
        """Return the answer to a GET; see `request`."""
        return await self.request("GET", url, params=params, headers=headers, timeout=timeout)

    async def post(
        self,
        url: str,
        *,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 - of one try
        retry: bool = False,
    ) -> "httpx.Response":
        """Return the answer to a POST, which is tried again only with `retry`; see `request`."""
        return await self.request(
            "POST", url, json=json, headers=headers, timeout=timeout, retry=retry
        )

    async def _until_answered(
        self, client: "httpx.AsyncClient", call: _Call, *, repeatable: bool
    ) -> "httpx.Response":
        failures = 0
        while True:
            if closed := self._work.outbound.closed_seconds(call.realm):
                await self._wait(call, closed)
            answer = await _try(client, call)
            if isinstance(answer, _Failed):
                asked, passes = None, answer.passes
            else:
                asked = self._asked(call, answer)
                if answer.status_code < HTTPStatus.BAD_REQUEST:
                    return answer
                passes = is_worth_retrying(answer.status_code, answer.headers, answer.content)
            failures += 1
            if not (passes and repeatable):
                raise _error(call, answer, failures)
            if asked is not None and failures <= call.retries:
                await self._wait(call, asked)
            elif asked is not None:
                await self._put_back(call, asked)
            else:
                await self._back_off(call, answer, failures)

    def _asked(self, call: _Call, answer: "httpx.Response") -> float | None:
        asked = asked_wait(answer.status_code, answer.headers, answer.content, now=self._work.now())
        if asked:
            self._work.outbound.close(call.realm, asked)
        return asked or None

    async def _back_off(
        self, call: _Call, answer: "httpx.Response | _Failed", failures: int
    ) -> None:
        seconds = delay_seconds(
            failures, base=BACKOFF_SECONDS, maximum=HOLD_SECONDS, chance=_chance()
        )
        if failures > call.retries or seconds >= _left():
            raise _error(call, answer, failures)
        said = answer.what if isinstance(answer, _Failed) else answer.status_code
        self._work.log.info("request is tried again", to=call.place, after=said, wait=seconds)
        await trio.sleep(seconds)

    async def _wait(self, call: _Call, seconds: float) -> None:
        """Wait as the server asks, in the runner if that is short."""
        if seconds > HOLD_SECONDS or seconds >= _left():
            await self._put_back(call, seconds)
        self._work.log.info("request waits: its server asks for it", to=call.place, wait=seconds)
        await trio.sleep(seconds)

    async def _put_back(self, call: _Call, seconds: float) -> None:
        """Go on later, if the run has not been put back too often. Raises RetryAfter if it has."""
        seconds += _chance() * min(seconds / 10, 30.0)  # so that not all come at once
        message = f"{call.place}: asks to be left alone for {seconds:.0f} s"
        work = self._work
        if work.scope is None:
            raise RetryAfter(seconds, message)
        if not work.waits:
            work.waits = True
            waits = decode((await work.records()).get(_WAITS, "0"))
            if not isinstance(waits, int) or waits >= WAITS_MAX:
                raise RetryAfter(seconds, f"{message}, and that {WAITS_MAX} times")
            await work.record(_WAITS, waits + 1)
        work.log.info("run waits: a server asks for it", to=call.place, wait=seconds)
        await work.put_back(work.now() + timedelta(seconds=seconds))


async def _try(client: "httpx.AsyncClient", call: _Call) -> "httpx.Response | _Failed":
    import httpx  # noqa: PLC0415 - the client has it by now

    request = call.request
    with outbound_span(request.method, str(request.url)) as span:
        if context := current_context():
            request.headers["traceparent"] = context
        try:
            with trio.move_on_after(call.seconds):
                response = await _exchange(client, call)
                span.received(response.status_code)
                return response
            failed = _Failed(f"no answer within {call.seconds:g} s", passes=True)
        except _TooLarge:
            failed = _Failed(f"the answer is larger than {call.max_bytes:,} bytes", passes=False)
        except httpx.HTTPError as error:
            reached = isinstance(error, httpx.TransportError)
            ours = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
            failed = _Failed(_words(error), passes=reached and not ours, error=error)
        span.failed("timeout" if failed.error is None else name_of(failed.error))
        return failed


async def _exchange(client: "httpx.AsyncClient", call: _Call) -> "httpx.Response":
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
        with trio.move_on_after(1, shield=True), suppress(httpx.HTTPError):
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


def _inflated(body: bytes, call: _Call) -> bytes:
    import httpx  # noqa: PLC0415 - as above

    try:
        inflated = zlib.decompressobj(_GZIP).decompress(body, call.max_bytes + 1)
    except zlib.error as error:
        raise httpx.DecodingError("the answer is not the gzip that it says") from error
    if len(inflated) > call.max_bytes:
        raise _TooLarge
    return inflated


def _error(call: _Call, answer: "httpx.Response | _Failed", tries: int) -> HttpError:
    often = "" if tries == 1 else f", the last of {tries} tries"
    if isinstance(answer, _Failed):
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


def _left() -> float:
    """Return how many seconds the step, or the task, has left."""
    return trio.current_effective_deadline() - trio.current_time()


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads requests, guards nothing
