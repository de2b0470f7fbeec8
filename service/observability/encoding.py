"""Spans as OTLP has them: plain records by hand, all others by the SDK.

By hand it takes a third of the time that protobuf's own objects do, the SDK's encoder more yet.
"""

from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from service.observability.plain_spans import NotPlain, written
from service.observability.protobuf import SIZED, sized, tag
from service.observability.recording import Record
from service.observability.sheets import Told

__all__ = ["Encoder"]

_SCOPE: Final = InstrumentationScope("service")
_RESOURCE_SPANS: Final = tag(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, SIZED)
_SCOPE_SPANS: Final = tag(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, SIZED)
_SPANS: Final = tag(ScopeSpans.SPANS_FIELD_NUMBER, SIZED)


class Encoder:
    """Writes spans of `resource` as OTLP, within the limits that the OTEL_* variables set."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._limits = limits = SpanLimits()
        lengths = limits.max_span_attribute_length is None  # else all are looked at by the SDK
        self._most_attributes = (limits.max_span_attributes or 0) if lengths else -1
        example = ReadableSpan(
            "", trace.INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=_SCOPE
        )
        ours = encode_spans([example]).resource_spans[0]
        ours.scope_spans[0].ClearField("spans")
        self._scope_told: bytes = ours.scope_spans[0].SerializeToString()
        ours.ClearField("scope_spans")
        self._resource_told: bytes = ours.SerializeToString()

    def write(self, spans: list[Told]) -> list[Told]:
        """Write all plain records, one behind the other; all else comes back as it is."""
        written: list[bytes] = []
        others: list[Told] = []
        for span in spans:
            try:
                written += self._written(span)
            except Exception:  # noqa: BLE001 - whoever sends it meets the same, in a thread of its own
                others.append(span)
        return [b"".join(written), *others]

    def encode(self, spans: Sequence[Told]) -> bytes:
        """Return a request that holds all `spans`. Raises ValueError for what is not Unicode."""
        ours = [self._scope_told]
        others: list[ReadableSpan] = []
        for span in spans:
            if isinstance(span, bytes):
                ours.append(span)
                continue
            try:
                ours += self._written(span)
            except NotPlain:
                others.append(self._bounded(span) if isinstance(span, Record) else span)
        of_scope = b"".join(ours)
        of_resource = self._resource_told + _SCOPE_SPANS + sized(of_scope)
        request = _RESOURCE_SPANS + sized(of_resource)
        if others:
            request += encode_spans(others).SerializeToString()
        return request

    def _written(self, span: Told) -> tuple[bytes, bytes]:
        if not isinstance(span, Record) or len(span.attributes) > self._most_attributes:
            raise NotPlain
        return _SPANS, sized(written(span))

    def _bounded(self, record: Record) -> ReadableSpan:
        limits = self._limits
        return ReadableSpan(
            record.name,
            record.context,
            record.parent,
            self._resource,
            BoundedAttributes(
                limits.max_span_attributes,
                record.attributes,
                max_value_len=limits.max_span_attribute_length,
            ),
            record.events[-(limits.max_events or 0) :],
            record.links[-(limits.max_links or 0) :],
            record.kind,
            status=record.status,
            start_time=record.start_time,
            end_time=record.end_time,
            instrumentation_scope=_SCOPE,
        )
