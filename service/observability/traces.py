"""Traces: one story from a delivery to the last attempt of its run.

Theory of operation
-------------------
A request's span continues the caller's trace. The enqueue within it is the producer: its context is
stored with the run, and every attempt, minutes or a restart later, is a consumer span under it.

Spans hold ids, names, counts and types of errors. Messages of exceptions, payloads, headers and
query strings may hold secrets and stay out. What is cancelled says so, and is no failure.

Without `tracing_to` every span is a no-op. Health probes are not traced: ask for no span.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Final, Protocol
from urllib.parse import urlsplit

import trio
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AnyValue

from service.core.run import Run, Trigger
from service.core.wire import rfc3339
from service.observability.exceptions import name_of

__all__ = [
    "Span",
    "attempt_span",
    "current_context",
    "current_span",
    "enqueue_span",
    "outbound_span",
    "request_span",
    "step_span",
    "tick_span",
    "tracer_is",
]

METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)

_W3C: Final = TraceContextTextMapPropagator()
_PLAIN: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_ROOT: Final = trace.INVALID_SPAN_CONTEXT
"""What is above the first span of a trace."""


class Tracer(Protocol):
    """Makes spans."""

    def start_span(
        self, name: str, parent: SpanContext, kind: SpanKind, attributes: dict[str, AnyValue], /
    ) -> trace.Span:
        """Begin a span below `parent`, if that is valid; the attributes are the span's now."""


class Span:
    """A span of ours while it is open; safe to use whether or not anyone records it."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, value: str | float | bool) -> None:  # noqa: FBT001 - a value, no switch
        """Keep a fact that is no secret."""
        self._span.set_attribute(name, value)

    def answered(self, status: int) -> None:
        """Keep the status of a response that we gave."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:  # noqa: PLR2004 - for a server, only these are errors
            self.failed(str(status))

    def received(self, status: int) -> None:
        """Keep the status of a response that we got."""
        self._span.set_attribute("http.response.status_code", status)
        if status >= 400:  # noqa: PLR2004 - for a client, these are errors
            self.failed(str(status))

    def failed(self, kind: str, message: str | None = None) -> None:
        """Mark as failed: `kind` is an exception's type, a status or `timeout`.

        `message` must be of our own words: an exception's may hold secrets.
        """
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, message))

    def outcome(self, word: str) -> None:
        """Keep how it ended: ok, error, retry, interrupted, cancelled, timeout, ..."""
        plain = str(word)  # a member of an enumeration is slow to encode
        self._span.set_attribute("outcome", plain)

    def end(self) -> None:
        """End it, if it does not end with its block."""
        self._span.end()

    def context(self) -> str | None:
        """Return its `traceparent` (W3C Trace Context), None if it has no place in any trace."""
        trace_id, span_id, _, flags, _, is_valid = self._span.get_span_context()
        if not is_valid:
            return None
        ids = f"{trace_id.to_bytes(16).hex()}-{span_id.to_bytes(8).hex()}"
        return f"00-{ids}-{flags.to_bytes().hex()}"


def request_span(
    method: str, route: str | None, headers: Mapping[str, str]
) -> AbstractContextManager[Span]:
    """Trace a request that we serve, as a part of its caller's trace.

    Follows OpenTelemetry's conventions for HTTP servers. A path without a route is not recorded:
    it may hold anything.
    """
    name, attributes = _request(method, route)
    return _Opened(name, SpanKind.SERVER, attributes.copy(), parent=_caller(headers))


def enqueue_span(job_id: str, run_id: str, trigger: Trigger) -> AbstractContextManager[Span]:
    """Trace the way of a run to the disk; store its `context()` with the run.

    It is not the current span within: what else is told there is the caller's.
    """
    attributes: dict[str, AnyValue] = {
        "job.id": job_id,
        "run.id": run_id,
        "run.trigger": str(trigger),
    }
    return _Marked(f"enqueue {job_id}", SpanKind.PRODUCER, attributes)


def attempt_span(run: Run) -> AbstractContextManager[Span]:
    """Trace an attempt, in the trace that its run was accepted in.

    The span goes on until `Span.end`: an attempt may be over before it is known how it ended.
    """
    attributes: dict[str, AnyValue] = {
        "job.id": run.job_id,
        "run.id": run.id,
        "run.trigger": str(run.trigger),
        "run.attempt": run.attempt,
        "run.max_attempts": run.max_attempts,
    }
    if run.crashes:
        attributes["run.crashes"] = run.crashes
    if run.cron_id is not None:
        attributes["cron.id"] = run.cron_id
    parent = _caller({"traceparent": run.trace_context}) if run.trace_context else _ROOT
    name = f"attempt {run.job_id}"
    return _Opened(name, SpanKind.CONSUMER, attributes, parent=parent, ends=False)


def step_span(name: str) -> AbstractContextManager[Span]:
    """Trace a step of a task."""
    return _Opened(f"step {name}", SpanKind.INTERNAL, {"step.name": name})


def outbound_span(method: str, url: str, resends: int = 0) -> AbstractContextManager[Span]:
    """Trace a request that we make, as OpenTelemetry's conventions for HTTP clients have it.

    `resends` is how often it was made before. Of `url` only scheme, host and port are recorded: its
    path may hold a token.
    """
    parts = urlsplit(url)
    attributes: dict[str, AnyValue] = {
        "http.request.method": method,
        "url.scheme": parts.scheme,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    if resends:
        attributes["http.request.resend_count"] = resends
    return _Opened(method, SpanKind.CLIENT, attributes)


def tick_span(
    cron_id: str, job_id: str, run_id: str, tick: datetime
) -> AbstractContextManager[Span]:
    """Trace a tick of a cron job, the start of a trace; store its `context()` with its run.

    It is not the current span within, for many are open at once.
    """
    attributes: dict[str, AnyValue] = {
        "cron.id": cron_id,
        "cron.tick": rfc3339(tick) or "",
        "job.id": job_id,
        "run.id": run_id,
        "run.trigger": str(Trigger.CRON),
    }
    return _Marked(f"tick {cron_id}", SpanKind.PRODUCER, attributes, parent=_ROOT)


def current_span() -> Span:
    """Return the span that the caller is in, to mark it from further down."""
    return Span(trace.get_current_span())


def current_context() -> str | None:
    """Return the `traceparent` of the current span, None outside of any."""
    return current_span().context()


@contextmanager
def tracer_is(tracer: Tracer) -> Iterator[None]:
    """Make spans with `tracer` within."""
    before, _out.tracer = _out.tracer, tracer
    try:
        yield
    finally:
        _out.tracer = before


class _Marked(Span):
    """A span that is marked by what ends it.

    A class: as generators, spans cost a third more.
    """

    __slots__ = ("_ends",)

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, AnyValue],
        *,
        parent: SpanContext | None = None,
        ends: bool = True,
    ) -> None:
        above = parent or trace.get_current_span().get_span_context()
        self._span = _out.tracer.start_span(name, above, kind, attributes)
        self._ends = ends

    def __enter__(self) -> Span:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if isinstance(error, trio.Cancelled):
            self._span.set_attribute("cancelled", value=True)
        elif error is not None:
            self.failed(name_of(error))
        if self._ends:
            self._span.end()


class _Opened(_Marked):
    """One that is current within."""

    __slots__ = ("_token",)

    def __enter__(self) -> Span:
        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        context.detach(self._token)
        super().__exit__(kind, error, traceback)


@lru_cache(maxsize=256)
def _request(method: str, route: str | None) -> tuple[str, dict[str, AnyValue]]:
    """Return the name of a request's span, and what is known of it at first."""
    known = method in METHODS
    attributes: dict[str, AnyValue] = {
        "http.request.method": method if known else "_OTHER",
        "url.scheme": "http",
    }
    name = method if known else "HTTP"
    if route is not None:
        attributes |= {"http.route": route, "url.path": route}
        name = f"{name} {route}"
    return name, attributes


def _caller(headers: Mapping[str, str]) -> SpanContext:
    """Return the caller's place in its trace; a header that says nothing sound starts anew."""
    traceparent = headers.get("traceparent")
    if not traceparent:
        return _ROOT
    plain = _PLAIN.fullmatch(traceparent)
    if plain is None or headers.get("tracestate"):
        return trace.get_current_span(_W3C.extract(headers, Context())).get_span_context()
    trace_id, span_id, flags = plain.groups()
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


class _Silent:
    """Makes spans that nobody records: who is below them is below their parent."""

    def start_span(
        self, _name: str, parent: SpanContext, _kind: SpanKind, _facts: dict[str, AnyValue], /
    ) -> trace.Span:
        return NonRecordingSpan(parent)


class _Out:
    """Who makes the spans now."""

    def __init__(self) -> None:
        self.tracer: Tracer = _Silent()


_out: Final = _Out()
