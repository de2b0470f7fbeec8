"""Traces and metrics on their way to a collector, by OTLP over HTTP."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib.metadata import version
from typing import Final, cast
from uuid import uuid4

import attrs
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from service.observability.collector import Collector
from service.observability.encoding import Encoder
from service.observability.export import (
    SERVICE_NAME,
    counts_by_default,
    demand_headers,
    endpoint_of,
    export_seconds,
)
from service.observability.instruments import Meter
from service.observability.metrics import metering
from service.observability.recording import Record, Recorder
from service.observability.tally import Tally
from service.observability.traces import tracer_is
from service.settings import Settings

__all__ = ["MetricExporter", "SpanExporter", "service_resource", "start_metrics", "start_traces"]

SCOPE: Final = "service"
SPANS_LOST: Final = "opentelemetry.sdk._shared_internal"
METRICS_LOST: Final = "opentelemetry.sdk.metrics._internal.export"

_INSTANCE_ID: Final = str(uuid4())
"""Of this process: the same in all its signals."""


def service_resource() -> Resource:
    """Describe this process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our words."""
    ours = Resource.create(
        {
            "service.name": SERVICE_NAME,
            "service.version": version(SERVICE_NAME),
            "service.instance.id": _INSTANCE_ID,
        }
    )
    all_told = ours.merge(OTELResourceDetector().detect())
    return _HashedOnce(dict(all_told.attributes), all_told.schema_url)


class _HashedOnce(Resource):
    """The SDK hashes the resource, by way of JSON, for each span: a fifth of what sending costs."""

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class SpanExporter(OTLPSpanExporter):
    """Sends batches of spans, and keeps account of how that went.

    Raises ValueError for what OTEL_* variables may not hold, as all here does that begins to send.
    """

    def __init__(self, configured: str, resource: Resource) -> None:
        demand_headers("TRACES")
        endpoint = endpoint_of("TRACES", configured, attrs.fields(Settings).otlp_endpoint.default)
        self.collector = Collector(
            "traces", endpoint, sending=OTLPSpanExporter.__module__, losing=SPANS_LOST
        )
        seconds = export_seconds("TRACES")
        super().__init__(endpoint=endpoint, timeout=seconds, session=self.collector.session())
        self._encoder = Encoder(resource)

    def export(self, spans: Sequence[Record | ReadableSpan]) -> SpanExportResult:
        """Send a batch, in the time that `export_seconds` says."""
        fault: Exception | None = None
        try:
            if not self._shutdown and self._client.export(self._encoder.encode(spans)).success:
                self.collector.delivered()
                return SpanExportResult.SUCCESS
        except ValueError as error:
            fault = error
        self.collector.failed(fault)
        return SpanExportResult.FAILURE


class MetricExporter(OTLPMetricExporter):
    """Sends what was counted, and keeps account of how that went."""

    def __init__(self, configured: str) -> None:
        demand_headers("METRICS")
        self.collector = Collector(
            "metrics", configured, sending=OTLPMetricExporter.__module__, losing=METRICS_LOST
        )
        seconds = export_seconds("METRICS")
        super().__init__(endpoint=configured, timeout=seconds, session=self.collector.session())

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = None, **kwargs: object
    ) -> MetricExportResult:
        """Send everything, in the time that `export_seconds` says."""
        result = super().export(metrics_data, timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self.collector.delivered()
        else:
            self.collector.failed()
        return result


def start_traces(endpoint: str, undo: ExitStack) -> Callable[[], None]:
    """Send traces to `endpoint` until `undo`; return what sends the rest, in 30 s."""
    resource = service_resource()
    exporter = SpanExporter(endpoint, resource)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    batches = BatchSpanProcessor(exporter)
    exporter.collector.listen(undo)  # now: what was said of variables is not about sending
    provider.add_span_processor(batches)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)  # for what task authors instrument themselves
    keep = cast("Callable[[Record], None]", batches.on_end)  # which looks at its place only
    undo.enter_context(tracer_is(Recorder(provider.sampler, keep)))

    def end() -> None:
        if exporter.collector.reason is not None:
            exporter.shutdown()  # type: ignore[no-untyped-call] # what is down is not waited for
        provider.shutdown()

    return end


def start_metrics(endpoint: str, undo: ExitStack) -> Callable[[], None]:
    """Send metrics to `endpoint` until `undo`; return what sends them once more, in 30 s."""
    exporter = MetricExporter(endpoint)
    reader = PeriodicExportingMetricReader(exporter)
    exporter.collector.listen(undo)  # now: as above
    undo.enter_context(metering(_meter_for(reader)))

    def end() -> None:
        if exporter.collector.reason is not None:
            exporter.shutdown()  # what is down is not waited for
        reader.shutdown()

    return end


def _meter_for(reader: PeriodicExportingMetricReader) -> Meter:
    """Return what counts for `reader`: by hand, unless the OTEL_* variables ask for more."""
    resource = service_resource()
    if not counts_by_default():
        return MeterProvider([reader], resource, shutdown_on_exit=False).get_meter(SCOPE)
    tally = Tally(resource, SCOPE)
    reader._set_collect_callback(  # noqa: SLF001 - the SDK knows no other source of metrics
        lambda *_, **__: tally.read()
    )
    return tally
