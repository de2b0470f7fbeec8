"""What is told of every request: a span, a metric and a line of the log."""

import time
from collections.abc import Awaitable
from typing import Final, Protocol

import attrs
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPScope,
    Scope,
)

from service.observability import metrics
from service.observability.logs import get_logger
from service.observability.sentry import capture_crash
from service.observability.traces import METHODS, request_span

__all__ = ["App", "Watched"]

_TRACE_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})

log = get_logger("service.access")


class App(Protocol):
    """An ASGI application."""

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable, /
    ) -> None:
        """Serve what `scope` describes."""


@attrs.frozen
class Watched:
    """An ASGI app whose requests are traced, counted and logged, but for the paths in `silent`.

    Paths other than `routes` are not named: they may hold anything.
    """

    app: App
    routes: frozenset[str]
    silent: frozenset[str]

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Serve a request, and tell how that went."""
        if scope["type"] != "http" or scope["path"] in self.silent:
            await self.app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self.routes else None
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        answer = _Answer(send)
        began = time.perf_counter()
        with request_span(method, route, _trace_headers(scope)) as span:
            try:
                await self.app(scope, receive, answer.send)
            except Exception as error:  # told, and left to the server
                answer.status = 500  # what the server makes of it
                capture_crash(error, route=route or "")
                raise
            finally:
                seconds = time.perf_counter() - began
                if answer.status is not None:
                    span.answered(answer.status)
                    metrics.request_answered(method, route, answer.status, seconds)
                else:
                    span.outcome("abandoned by the client")
                log.info(
                    "request",
                    method=method,
                    route=route,
                    status=answer.status,
                    duration_ms=round(seconds * 1000, 3),
                )


@attrs.define(eq=False)
class _Answer:
    """Lets a response pass, and keeps its status."""

    _send: ASGISendCallable
    status: int | None = None

    def send(self, event: ASGISendEvent) -> Awaitable[None]:
        if event["type"] == "http.response.start":
            self.status = event["status"]
        return self._send(event)


def _trace_headers(scope: HTTPScope) -> dict[str, str]:
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in _TRACE_HEADERS
    }
