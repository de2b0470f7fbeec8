"""Where a trace goes on, against OpenTelemetry's own reading and writing of W3C Trace Context."""

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AnyValue

from service.observability.traces import current_context, request_span, tracer_is

W3C = TraceContextTextMapPropagator()

ID = "0af7651916cd43dd8448eb211c80319c"
PARTS = (
    ("", " "),
    ("00-", "01-", "ff-", "0A-", ""),
    (ID, ID.upper(), "0" * 32, ID[1:], "\u0660" * 32),
    ("-b7ad6b7169203331-", "-0000000000000000-", "-"),
    ("00", "01", "03", "1"),
    ("", "-more", " ", "\n", "x" * 600),
)
STATES = (None, "", "vendor=x", "a=1,b=2", "no state", "a=" + "x" * 600)


class Caller:
    """Keeps below what the last span was to begin."""

    def __init__(self) -> None:
        self.place = trace.INVALID_SPAN_CONTEXT

    def start_span(
        self,
        _name: str,
        parent: SpanContext,
        _kind: SpanKind,
        _attributes: dict[str, AnyValue],
        /,
    ) -> trace.Span:
        self.place = parent
        return trace.INVALID_SPAN


@pytest.mark.parametrize("state", STATES)
def test_a_request_goes_on_where_its_headers_say(state: str | None) -> None:
    """A header that is broken, of another version or of nobody is read as the standard has it."""
    caller = Caller()
    for parts in product(*PARTS):
        headers = {"traceparent": "".join(parts)}
        if state is not None:
            headers["tracestate"] = state
        expected = trace.get_current_span(W3C.extract(headers, Context())).get_span_context()
        with tracer_is(caller), request_span("POST", "/webhook", headers):
            pass
        found = caller.place if caller.place.is_valid else trace.INVALID_SPAN_CONTEXT
        assert found == expected, headers


@given(
    trace_id=st.integers(0, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    flags=st.integers(0, 255),
)
@example(trace_id=0, span_id=1, flags=1)
@example(trace_id=1, span_id=1, flags=0)
def test_what_is_stored_with_a_run_is_a_traceparent(
    trace_id: int, span_id: int, flags: int
) -> None:
    """As the standard has it, and nothing if the current span is nobody's."""
    place = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))
    carrier: dict[str, str] = {}
    with trace.use_span(NonRecordingSpan(place)):
        W3C.inject(carrier)
        told = current_context()
    assert told == (carrier["traceparent"] if place.is_valid else None)
