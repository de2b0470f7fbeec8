"""Traces and metrics on their way to a collector, by OTLP over HTTP.

What sends them is loaded with the first batch, by the thread that sends. Only where OTEL_*
variables say how to send, it is loaded at once: what is wrong with them is said at the start.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import attrs
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as metrics_export
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace import export as trace_export

from service.observability.collector import Collector
from service.observability.export import (
    SERVICE_NAME,
    counts_by_default,
    demand_headers,
    endpoint_of,
    says_how_to_send,
)
from service.observability.instruments import Meter
from service.observability.metrics import metering
from service.observability.recording import Recorder
from service.observability.sheets import Sheets, Told
from service.observability.tally import Tally
from service.observability.traces import tracer_is
from service.settings import Settings

if TYPE_CHECKING:
    from service.observability.senders import MetricSender, SpanSender

__all__ = ["MetricExporter", "SpanExporter", "service_resource", "start_metrics", "start_traces"]

SCOPE: Final = "service"
SPANS_SENT: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
SPANS_LOST: Final = "opentelemetry.sdk._shared_internal"
METRICS_SENT: Final = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
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


class SpanExporter(trace_export.SpanExporter):
    """Sends batches of spans, and keeps account of how that went.

    Raises ValueError for what OTEL_* variables may not hold, as all here does that begins to send.
    """

    def __init__(self, configured: str, resource: Resource) -> None:
        demand_headers("TRACES")
        self._endpoint = endpoint_of(
            "TRACES", configured, attrs.fields(Settings).otlp_endpoint.default
        )
        self._resource = resource
        self.collector = Collector("traces", self._endpoint, sending=SPANS_SENT, losing=SPANS_LOST)
        self._sender = self._load() if says_how_to_send() else None

    def _load(self) -> "SpanSender":
        from service.observability.senders import SpanSender  # noqa: PLC0415 - see the module

        return SpanSender(self._endpoint, self._resource, self.collector)

    def write(self, spans: list[Told]) -> list[Told]:
        """Write what can be written by hand, once that is loaded."""
        return spans if self._sender is None else self._sender.encoder.write(spans)

    def export(self, spans: Sequence[Told]) -> trace_export.SpanExportResult:
        """Send a batch, in the time that `export_seconds` says."""
        self._sender = self._sender or self._load()
        fault: Exception | None = None
        try:
            if self._sender.send(spans):
                self.collector.delivered()
                return trace_export.SpanExportResult.SUCCESS
        except ValueError as error:
            fault = error
        self.collector.failed(fault)
        return trace_export.SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Give up what is being sent."""
        if self._sender is not None:
            self._sender.shutdown()  # type: ignore[no-untyped-call] # the library's


class MetricExporter(metrics_export.MetricExporter):
    """Sends what was counted, and keeps account of how that went."""

    def __init__(self, configured: str) -> None:
        demand_headers("METRICS")
        self._endpoint = configured
        self.collector = Collector("metrics", configured, sending=METRICS_SENT, losing=METRICS_LOST)
        self._sender = sender = self._load() if says_how_to_send() else None
        super().__init__(
            sender._preferred_temporality if sender else None,  # noqa: SLF001 - as readers ask
            sender._preferred_aggregation if sender else None,  # noqa: SLF001 - as above
        )

    def _load(self) -> "MetricSender":
        from service.observability.senders import MetricSender  # noqa: PLC0415 - see the module

        return MetricSender(self._endpoint, self.collector)

    def export(
        self,
        metrics_data: metrics_export.MetricsData,
        timeout_millis: float = 10_000,
        **kwargs: object,
    ) -> metrics_export.MetricExportResult:
        """Send everything, in the time that `export_seconds` says."""
        self._sender = self._sender or self._load()
        result = self._sender.export(metrics_data, timeout_millis, **kwargs)
        if result is metrics_export.MetricExportResult.SUCCESS:
            self.collector.delivered()
        else:
            self.collector.failed()
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the SDK's
        """Do nothing: nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Give up what is being sent."""
        if self._sender is not None:
            self._sender.shutdown(timeout_millis, **kwargs)


def start_traces(endpoint: str, undo: ExitStack) -> Callable[[], None]:
    """Send traces to `endpoint` until `undo`; return what sends the rest, in 30 s."""
    resource = service_resource()
    exporter = SpanExporter(endpoint, resource)
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    sheets = Sheets(exporter)
    exporter.collector.listen(undo)  # now: what was said of variables is not about sending
    provider.add_span_processor(sheets)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)  # for what task authors instrument themselves
    undo.enter_context(tracer_is(Recorder(provider.sampler, sheets.on_end)))

    def end() -> None:
        if exporter.collector.reason is not None:
            exporter.shutdown()  # what is down is not waited for
        provider.shutdown()

    return end


def start_metrics(endpoint: str, undo: ExitStack) -> Callable[[], None]:
    """Send metrics to `endpoint` until `undo`; return what sends them once more, in 30 s."""
    exporter = MetricExporter(endpoint)
    reader = metrics_export.PeriodicExportingMetricReader(exporter)
    exporter.collector.listen(undo)  # now: as above
    undo.enter_context(metering(_meter_for(reader)))

    def end() -> None:
        if exporter.collector.reason is not None:
            exporter.shutdown()  # what is down is not waited for
        reader.shutdown()

    return end


def _meter_for(reader: metrics_export.PeriodicExportingMetricReader) -> Meter:
    """Return what counts for `reader`: by hand, unless the OTEL_* variables ask for more."""
    resource = service_resource()
    if not counts_by_default():
        return MeterProvider([reader], resource, shutdown_on_exit=False).get_meter(SCOPE)
    tally = Tally(resource, SCOPE)
    reader._set_collect_callback(  # noqa: SLF001 - the SDK knows no other source of metrics
        lambda *_, **__: tally.read()
    )
    return tally
