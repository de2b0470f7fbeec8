"""One span and one metric, to try the way that they go."""

import math
from collections.abc import Callable

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from service.observability.collector import Collector
from service.observability.otlp import MetricExporter, SpanExporter, service_resource

__all__ = ["metric", "span"]


def span(endpoint: str) -> tuple[Collector, Callable[[], object]]:
    """Return what sends a span to `endpoint`, and who keeps account of it."""
    resource = service_resource()
    exporter = SpanExporter(endpoint, resource)
    provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter.collector, provider.get_tracer("service").start_span("service check").end


def metric(endpoint: str) -> tuple[Collector, Callable[[], object]]:
    """Return what sends a metric to `endpoint`, and who keeps account of it."""
    exporter = MetricExporter(endpoint)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
    provider = MeterProvider([reader], service_resource(), shutdown_on_exit=False)
    provider.get_meter("service").create_counter("service.checks", "{check}").add(1)
    return exporter.collector, provider.force_flush
