"""Spans as plain records: made on the event loop, worked out where they are sent.

A span of the SDK is bounded, copied and locked while it is made, and that on the loop. A record
takes a fifth of the time. It is a span to OpenTelemetry's API, so whatever a task traces hangs
below it; the sampler, the batches and the limits are the SDK's.
"""

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision, Sampler
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import AnyValue, Attributes

from service.observability.exceptions import name_of

__all__ = ["UNSET", "Record", "Recorder"]

_IDS: Final = RandomIdGenerator()
UNSET: Final = Status(StatusCode.UNSET)
"""How a span went of which nobody says it."""
_SAMPLED: Final = TraceFlags.SAMPLED
_RANDOM: Final = TraceFlags.RANDOM_TRACE_ID
_FLAGS: Final = {flags: TraceFlags(flags) for flags in (0, _SAMPLED, _RANDOM, _SAMPLED | _RANDOM)}


class Record(trace.Span):
    """A span, as it was told; `keep` takes it when it has ended."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a span; by position, for they are many
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, AnyValue],
        keep: "Callable[[Record], None]",
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes = attributes
        self.events: tuple[Event, ...] = ()
        self.links: tuple[Link, ...] = ()
        self.status = UNSET
        self.start_time = time.time_ns()
        self.end_time: int | None = None
        self._keep = keep

    def end(self, end_time: int | None = None) -> None:
        """End it, once; what is told later is not heard."""
        if self.end_time is None:
            self.end_time = end_time or time.time_ns()
            self._keep(self)

    def get_span_context(self) -> SpanContext:
        """Return its place in its trace."""
        return self.context

    def is_recording(self) -> bool:
        """Return whether it has not ended."""
        return self.end_time is None

    def set_attribute(self, key: str, value: AnyValue) -> None:
        """Keep a fact."""
        if self.end_time is None:
            self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AnyValue]) -> None:
        """Keep facts."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Keep what happened meanwhile."""
        if self.end_time is None:
            self.events += (Event(name, attributes, timestamp),)

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Keep that another span has to do with it."""
        if self.end_time is None:
            self.links += (Link(context, attributes),)

    def update_name(self, name: str) -> None:
        """Rename it."""
        if self.end_time is None:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Keep how it went: the last word counts, but none after ok."""
        if isinstance(status, StatusCode):
            status = Status(status, description)
        final = self.status.status_code is StatusCode.OK or status.status_code is StatusCode.UNSET
        if self.end_time is None and not final:
            self.status = status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: FBT001, FBT002 - the signature of the API
    ) -> None:
        """Keep an exception with its words and its stack, for a task that asks for it."""
        told: dict[str, AnyValue] = {
            "exception.type": name_of(exception),
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
            **(attributes or {}),
        }
        self.add_event("exception", told, timestamp)


class Recorder:
    """Makes records of what `sampler` wants, for `keep`."""

    def __init__(self, sampler: Sampler, keep: Callable[[Record], None]) -> None:
        self._sampler = sampler
        self._keep = keep

    def start_span(
        self,
        name: str,
        parent: SpanContext,
        kind: SpanKind,
        attributes: dict[str, AnyValue],
        /,
    ) -> trace.Span:
        """Begin a span below `parent`, if that is valid; the attributes are the span's now."""
        trace_id, _, _, flags, state, is_valid = parent
        if not is_valid:
            trace_id, flags = _IDS.generate_trace_id(), _FLAGS[_SAMPLED | _RANDOM]
        if self._sampler is not DEFAULT_ON:
            above = trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
            wish = self._sampler.should_sample(above, trace_id, name, kind, attributes, ())
            recorded = wish.decision is not Decision.DROP
            sampled = _SAMPLED if wish.decision is Decision.RECORD_AND_SAMPLE else 0
            attributes, state = dict(wish.attributes or {}), wish.trace_state or TraceState()
        else:  # its answer is known without the cost of asking
            sampled = flags & _SAMPLED
            recorded = bool(sampled)
        flags = _FLAGS[flags & _RANDOM | sampled]
        place = _place(trace_id, _IDS.generate_span_id(), flags, state)
        if not recorded:
            return trace.NonRecordingSpan(place)
        return Record(name, place, parent if is_valid else None, kind, attributes, self._keep)


def _place(trace_id: int, span_id: int, flags: TraceFlags, state: TraceState) -> SpanContext:
    """Return a place in a trace, as its class does, which is a tuple of these and of two facts.

    It would look at the ids first, which are ours, and that takes a third of what a span does.
    """
    return tuple.__new__(SpanContext, (trace_id, span_id, False, flags, state, True))
