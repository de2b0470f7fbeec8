"""`ctx.http`: requests to other services, that neither trust them nor give up too soon.

Theory of operation
-------------------
Every try is bounded in time and in size. A try that failed for a reason that passes is made again,
if the method allows it (RFC 9110 section 9.2.2), after the wait that the server asks for, or else
after a growing one. A wait that is too long to hold a runner puts the run back in the queue: the
task begins anew when it is over, and its finished steps are remembered. That happens a bounded
number of times; then the attempt fails, and may be retried as often as the task allows.

A server that asks one run to wait asks them all: nobody sends to it before that.
"""

import random
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs
import trio

from service.core.backoff import delay_seconds
from service.core.results import RetryAfter
from service.core.throttling import asked_wait, is_worth_retrying
from service.core.wire import decode, encode
from service.tasks.arguments import check_request
from service.tasks.exchange import Call, Failed, HttpError, error_of, exchange
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

Params: TypeAlias = Mapping[str, str | int | float | bool | None]


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

        Raises HttpError for any other answer, and for none; ValueError or TypeError for a request
        that is none. Cancelled closes the connection; the
        server may have done what it was asked.
        """
        check_request(timeout, retries, max_bytes)
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
        call = Call(
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
        self, client: "httpx.AsyncClient", call: Call, *, repeatable: bool
    ) -> "httpx.Response":
        failures = 0
        while True:
            if closed := self._work.outbound.closed_seconds(call.realm):
                await self._wait(call, closed)
            answer = await exchange(client, call, resends=failures)
            if isinstance(answer, Failed):
                asked, passes = None, answer.passes
            else:
                asked = self._asked(call, answer)
                if answer.status_code < HTTPStatus.BAD_REQUEST:
                    return answer
                passes = is_worth_retrying(answer.status_code, answer.headers, answer.content)
            failures += 1
            if not (passes and repeatable):
                raise error_of(call, answer, failures)
            if asked is not None and failures <= call.retries:
                await self._wait(call, asked)
            elif asked is not None:
                await self._put_back(call, asked)
            else:
                await self._back_off(call, answer, failures)

    def _asked(self, call: Call, answer: "httpx.Response") -> float | None:
        asked = asked_wait(answer.status_code, answer.headers, answer.content, now=self._work.now())
        if asked:
            self._work.outbound.close(call.realm, asked)
        return asked or None

    async def _back_off(self, call: Call, answer: "httpx.Response | Failed", failures: int) -> None:
        seconds = delay_seconds(
            failures, base=BACKOFF_SECONDS, maximum=HOLD_SECONDS, chance=_chance()
        )
        if failures > call.retries or seconds >= _left():
            raise error_of(call, answer, failures)
        said = answer.what if isinstance(answer, Failed) else answer.status_code
        self._work.log.info("request is tried again", to=call.place, after=said, wait=seconds)
        await trio.sleep(seconds)

    async def _wait(self, call: Call, seconds: float) -> None:
        """Wait as the server asks, in the runner if that is short."""
        if seconds > HOLD_SECONDS or seconds >= _left():
            await self._put_back(call, seconds)
        self._work.log.info("request waits: its server asks for it", to=call.place, wait=seconds)
        await trio.sleep(seconds)

    async def _put_back(self, call: Call, seconds: float) -> None:
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


def _left() -> float:
    """Return how many seconds the step, or the task, has left."""
    return trio.current_effective_deadline() - trio.current_time()


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads requests, guards nothing
