"""What sends to a collector by OTLP over HTTP.

The libraries for it take as long to load as half the service: whoever sends first imports this.
"""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource

from service.observability.collector import Collector
from service.observability.encoding import Encoder
from service.observability.export import export_seconds
from service.observability.session import session
from service.observability.sheets import Told

__all__ = ["MetricSender", "SpanSender"]


class SpanSender(OTLPSpanExporter):
    """Sends spans to `endpoint`; `collector` is told how that went."""

    def __init__(self, endpoint: str, resource: Resource, collector: Collector) -> None:
        super().__init__(
            endpoint=endpoint, timeout=export_seconds("TRACES"), session=session(collector)
        )
        self.encoder = Encoder(resource)

    def send(self, spans: Sequence[Told]) -> bool:
        """Send a batch, in the time that `export_seconds` says; return whether it arrived.

        Raises ValueError for what is not Unicode.
        """
        return not self._shutdown and self._client.export(self.encoder.encode(spans)).success


class MetricSender(OTLPMetricExporter):
    """Sends metrics, as above."""

    def __init__(self, endpoint: str, collector: Collector) -> None:
        super().__init__(
            endpoint=endpoint, timeout=export_seconds("METRICS"), session=session(collector)
        )
