"""Records of spans: what the SDK's own spans would have told, at a part of the cost."""

from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, DEFAULT_ON, ParentBased, Sampler
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AnyValue

from service.observability.attempts import Ending
from service.observability.encoding import Encoder
from service.observability.recording import Record, Recorder
from service.observability.traces import step_span, tracer_is

RESOURCE = Resource({"service.name": "test", "process.command_args": ("a", "b")})
FACTS: dict[str, AnyValue] = {"text": "ä", "yes": True, "whole": -7, "part": 0.5}
CALLER = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C,
    0xB7AD6B7169203331,
    is_remote=True,
    trace_flags=TraceFlags(TraceFlags.SAMPLED),
    trace_state=trace.TraceState([("vendor", "x")]),
)


def below(place: SpanContext) -> Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(place), Context())


def recorder(sampler: Sampler = DEFAULT_ON) -> tuple[Recorder, list[Record]]:
    kept: list[Record] = []
    return Recorder(sampler, kept.append), kept


def request_of(*spans: Record | ReadableSpan) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.ParseFromString(Encoder(RESOURCE).encode(spans))
    return request


def sent(span: Record | ReadableSpan) -> Span:
    """Return a span as it is sent, without what is different each time."""
    found = Span()
    [only] = [
        each
        for resource in request_of(span).resource_spans
        for scope in resource.scope_spans
        for each in scope.spans
    ]
    found.CopyFrom(only)
    for field in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
        assert getattr(found, field)
        found.ClearField(field)
    for told in (found, *found.events):  # whose facts have no order
        told.attributes.sort(key=lambda pair: str(pair.key))
    for event in found.events:
        event.ClearField("time_unix_nano")
    return found


def plain(span: trace.Span) -> None:
    span.set_attribute("later", "x")
    span.update_name("renamed")
    span.set_status(Status(StatusCode.ERROR, "in our words"))


def ornate(span: trace.Span) -> None:
    span.set_attributes({"list": ["a", "b"], "text": "y" * 50})
    span.add_event("seen", {"n": 1})
    span.add_link(CALLER, {"why": "because"})
    span.record_exception(LookupError("gone"))
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")


@pytest.mark.parametrize("limit", ["", "10"])
@pytest.mark.parametrize("tell", [plain, ornate])
def test_a_record_is_sent_as_the_sdks_span_is(
    tell: Callable[[trace.Span], None], limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is told of it, and within the limits that the standard variables set."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit)
    memory = InMemorySpanExporter()
    provider = TracerProvider(DEFAULT_ON, RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    theirs = provider.get_tracer("service").start_span(
        "work", below(CALLER), SpanKind.CLIENT, FACTS
    )
    ours_of, kept = recorder()
    ours = ours_of.start_span("work", CALLER, SpanKind.CLIENT, dict(FACTS))
    for span in (theirs, ours):
        tell(span)
        assert span.is_recording()
        span.end()
        assert not span.is_recording()
    provider.shutdown()
    [reference] = memory.get_finished_spans()
    [record] = kept
    assert sent(record) == sent(reference)


def test_an_outcome_is_told_as_plain_text() -> None:
    """An enumeration's member would take every attempt's span the slow way through the encoder."""
    made, kept = recorder()
    with tracer_is(made), step_span("a") as span:
        span.outcome(Ending.OK)
    assert type(kept[0].attributes["outcome"]) is str


def test_ours_and_the_libraries_spans_share_a_request() -> None:
    """What a task instruments itself arrives beside our own, each once, of the same resource."""
    ours_of, kept = recorder()
    ours_of.start_span("ours", trace.INVALID_SPAN_CONTEXT, SpanKind.INTERNAL, {}).end()
    theirs = ReadableSpan("theirs", CALLER, resource=RESOURCE)
    request = request_of(kept[0], theirs)
    assert len({str(each.resource) for each in request.resource_spans}) == 1
    names = [
        span.name
        for each in request.resource_spans
        for scope in each.scope_spans
        for span in scope.spans
    ]
    assert names == ["ours", "theirs"]


def test_the_end_is_the_end() -> None:
    """A span ends once, and hears nothing afterwards."""
    ours_of, kept = recorder()
    span = ours_of.start_span("work", trace.INVALID_SPAN_CONTEXT, SpanKind.INTERNAL, {})
    span.end()
    ornate(span)
    span.update_name("other")
    span.end()
    [record] = kept
    assert (record.name, record.attributes, record.events, record.links) == ("work", {}, (), ())
    assert record.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("sampler", [DEFAULT_ON, ParentBased(ALWAYS_OFF)])
def test_an_unsampled_caller_is_obeyed(sampler: Sampler) -> None:
    """Nothing is kept of a trace that its caller does not keep, and those below are told."""
    ours_of, kept = recorder(sampler)
    unsampled = SpanContext(CALLER.trace_id, CALLER.span_id, is_remote=True)
    span = ours_of.start_span("work", unsampled, SpanKind.SERVER, {})
    span.end()
    assert not kept
    place = span.get_span_context()
    assert (place.trace_id, place.trace_flags.sampled) == (CALLER.trace_id, False)
    assert place.span_id != CALLER.span_id


def test_a_sampler_decides_about_roots() -> None:
    """A sampler of the standard variables is asked where it is not the default."""
    ours_of, kept = recorder(ParentBased(ALWAYS_OFF))
    ours_of.start_span("root", trace.INVALID_SPAN_CONTEXT, SpanKind.INTERNAL, {}).end()
    ours_of.start_span("child", CALLER, SpanKind.INTERNAL, {}).end()
    assert [record.name for record in kept] == ["child"]


def test_the_current_span_is_the_parent() -> None:
    """A span of ours hangs below the one that its caller is in, whoever made that."""
    made, kept = recorder()
    with tracer_is(made), trace.use_span(trace.NonRecordingSpan(CALLER)), step_span("work"):
        pass
    assert kept[0].parent == CALLER
    assert kept[0].context.trace_state == CALLER.trace_state


def test_links_of_the_api_are_kept() -> None:
    """A link has the place and the facts that it was made with."""
    ours_of, kept = recorder()
    span = ours_of.start_span("work", trace.INVALID_SPAN_CONTEXT, SpanKind.INTERNAL, {})
    span.add_link(CALLER, {"a": 1})
    span.end()
    [link] = kept[0].links
    assert isinstance(link, Link)
    assert (link.context, dict(link.attributes or {})) == (CALLER, {"a": 1})
