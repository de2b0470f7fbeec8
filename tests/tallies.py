"""A tally and the SDK's own meter side by side."""

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from service.observability.instruments import Meter
from service.observability.tally import Tally

RESOURCE = Resource({"service.name": "test", "process.command_args": ("a", "b")}, "urn:schema")


class Both:
    """Two meters that are to be told the same."""

    def __init__(self) -> None:
        self._tally = Tally(RESOURCE, "service")
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], RESOURCE, shutdown_on_exit=False)
        self.meters: tuple[Meter, Meter] = (self._tally, provider.get_meter("service"))

    def read(self) -> tuple[ExportMetricsServiceRequest, ExportMetricsServiceRequest]:
        """Return what each sends now, in the same order and without its times."""
        theirs = self._reader.get_metrics_data()
        assert theirs is not None
        return _plain(encode_metrics(self._tally.read())), _plain(encode_metrics(theirs))


def _plain(request: ExportMetricsServiceRequest) -> ExportMetricsServiceRequest:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            scope.metrics.sort(key=lambda metric: str(metric.name))
            for metric in scope.metrics:
                kind = str(metric.WhichOneof("data"))
                points = getattr(metric, kind).data_points
                points.sort(key=lambda point: sorted(map(str, point.attributes)))
                for point in points:
                    point.attributes.sort(key=lambda pair: str(pair.key))
                    assert (point.start_time_unix_nano > 0) == (kind != "gauge")
                    assert point.time_unix_nano >= point.start_time_unix_nano
                    point.ClearField("start_time_unix_nano")
                    point.ClearField("time_unix_nano")
                    for exemplar in point.exemplars:
                        assert exemplar.time_unix_nano
                        exemplar.ClearField("time_unix_nano")
    return request
