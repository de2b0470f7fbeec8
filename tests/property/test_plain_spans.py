"""Spans that are written by hand against the SDK's encoder: whatever is told, the same arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceState
from opentelemetry.util.types import AnyValue

from service.observability.encoding import Encoder
from service.observability.recording import Record

RESOURCE = Resource({"service.name": "test", "process.command_args": ("a", "b")}, "urn:schema")
SCOPE = InstrumentationScope("service")
INT_EDGES = (0, -1, 127, 128, 2**31, 2**63 - 1, -(2**63))
STATES = (None, TraceState([("vendor", "x")]), TraceState([("a", "1"), ("b@c", "é")]))

TEXTS = st.text(max_size=300)  # of Unicode, thus without lone surrogates
VALUES: st.SearchStrategy[AnyValue] = st.one_of(
    TEXTS,
    st.booleans(),
    st.sampled_from(INT_EDGES),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
)
TIMES = st.integers(1, 2**64 - 1)
PLACES = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    trace_state=st.sampled_from(STATES),
)
STATUSES = st.one_of(
    st.sampled_from([Status(StatusCode.UNSET), Status(StatusCode.OK)]),
    st.builds(Status, st.just(StatusCode.ERROR), st.none() | TEXTS),
)


def record_of(
    name: str,
    attributes: dict[str, AnyValue],
    context: SpanContext,
    parent: SpanContext | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> Record:
    return Record(name, context, parent, kind, attributes, lambda _: None)


PLACE = SpanContext(7, 9, is_remote=False)


@given(
    name=TEXTS,
    context=PLACES,
    parent=st.none() | PLACES,
    kind=st.sampled_from(SpanKind),
    attributes=st.dictionaries(TEXTS.filter(bool), VALUES, max_size=6),
    status=STATUSES,
    times=st.tuples(TIMES, TIMES),
)
def test_what_arrives_is_what_the_sdk_would_have_said(  # noqa: PLR0913, PLR0917 - the parts of a span
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    kind: SpanKind,
    attributes: dict[str, AnyValue],
    status: Status,
    times: tuple[int, int],
) -> None:
    """Names, places, times, facts and outcome, to the last bit."""
    record = record_of(name, attributes, context, parent, kind)
    record.status = status
    record.start_time, record.end_time = times
    theirs = ReadableSpan(
        name,
        context,
        parent,
        RESOURCE,
        BoundedAttributes(attributes=attributes),
        kind=kind,
        status=status,
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=SCOPE,
    )
    arrived = ExportTraceServiceRequest.FromString(Encoder(RESOURCE).encode([record, record]))
    expected = encode_spans([theirs, theirs])
    assert arrived.SerializeToString() == expected.SerializeToString(), (arrived, expected)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, None, object()])
def test_a_fact_that_cannot_be_sent_costs_that_fact(value: AnyValue) -> None:
    """The span arrives without it, or as the SDK has it, and so do all others of its batch."""
    record = record_of("odd", {"before": 1, "odd": value, "after": 2}, PLACE)
    record.end()
    request = ExportTraceServiceRequest.FromString(Encoder(RESOURCE).encode([record, record]))
    spans = request.resource_spans[-1].scope_spans[0].spans
    assert [span.name for span in spans] == ["odd", "odd"]
    assert {"before", "after"} <= {pair.key for pair in spans[0].attributes}


@pytest.mark.parametrize(
    ("name", "attributes"),
    [("\ud800", {}), ("x", {"\ud800": 1}), ("x", {"a": "\ud800"}), ("x", {"a": "\ud800" * 99})],
)
def test_what_is_not_unicode_is_refused(name: str, attributes: dict[str, AnyValue]) -> None:
    """As ValueError: whoever exports knows that one."""
    record = record_of(name, attributes, PLACE)
    record.end()
    with pytest.raises(ValueError, match="surrogates"):
        Encoder(RESOURCE).encode([record])
