"""Real servers for telemetry: a collector that decodes OTLP, a Sentry that decodes envelopes."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import attrs
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from service.core.wire import Json

WAIT_SECONDS = 20
"""Only bounds a test that fails; none waits this long to pass."""

Attribute = str | int | float | bool


@attrs.frozen
class SpanSeen:
    """A span as it arrived."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    attributes: dict[str, Attribute]
    status: str
    message: str
    resource: dict[str, Attribute]


class Receiver:
    """Answers every POST, and keeps what came; `status`, `headers` and `answer` are its answer.

    The answer is packed for whoever takes that. `asked` are the headers of the last request, by
    their names in lower case.
    """

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.answer = b"{}"
        self.asked: dict[str, str] = {}
        self.requests = 0
        self.raw: list[bytes] = []
        self.spans: list[SpanSeen] = []
        self.metrics: dict[str, Metric] = {}
        self.events: list[dict[str, Json]] = []
        self.check_ins: list[dict[str, Json]] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.asked = {name.lower(): value for name, value in self.headers.items()}
                status = receiver.take(self.path, body)
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                answer = receiver.answer
                if "gzip" in receiver.asked.get("accept-encoding", ""):
                    answer = gzip.compress(answer)
                    self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def traces_url(self) -> str:
        """What to set as OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def metrics_url(self) -> str:
        """What to set as OTLP_METRICS_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}/v1/metrics"

    @property
    def dsn(self) -> str:
        """What to set as SENTRY_DSN; its key is a secret."""
        return f"http://canary-dsn-key@127.0.0.1:{self.port}/42"

    def take(self, path: str, body: bytes) -> int:
        """Keep what a request holds, unless it is refused; return the status to answer."""
        with self._changed:
            self.requests += 1
            if self.status == 200:
                self.raw.append(body)
                if path == "/v1/traces":
                    self.spans += _spans(body)
                elif path == "/v1/metrics":
                    self.metrics |= _metrics(body)
                elif path == "/api/42/envelope/":
                    self._envelope(body)
            self._changed.notify_all()
            return self.status

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until what has come satisfies `until`."""
        with self._changed:
            assert self._changed.wait_for(until, WAIT_SECONDS)

    def span(self, name: str) -> SpanSeen:
        """Return the only span of this name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def tree(self) -> str:
        """Return the names of all spans, each below its parent, in the order of their beginning."""
        ids = {span.span_id for span in self.spans}
        children: dict[str, list[SpanSeen]] = {}
        for span in sorted(self.spans, key=lambda span: span.began):
            children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)

        def lines(parent_id: str, depth: int) -> Iterator[str]:
            for span in children.get(parent_id, ()):
                yield f"{'  ' * depth}{span.name}"
                yield from lines(span.span_id, depth + 1)

        return "\n".join(lines("", 0))

    def points(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return each point of a metric: its labels, and its sum, count or value."""
        metric = self.metrics[name]
        kind = metric.WhichOneof("data")
        assert kind is not None
        return [
            (
                {key: str(value) for key, value in _attributes(point.attributes).items()},
                point.sum if kind == "histogram" else point.as_int or point.as_double,
            )
            for point in getattr(metric, kind).data_points
        ]

    def _envelope(self, body: bytes) -> None:
        _header, _, rest = body.partition(b"\n")
        while rest.strip():
            line, _, rest = rest.partition(b"\n")
            item = json.loads(line)
            payload, rest = rest[: item["length"]], rest[item["length"] :].lstrip(b"\n")
            if item["type"] == "event":
                self.events.append(json.loads(payload))
            elif item["type"] == "check_in":
                self.check_ins.append(json.loads(payload))


def answering(rejected: int, message: str) -> bytes:
    """Return what a collector answers that took not everything, or not without a word."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return bytes(ExportTraceServiceResponse(partial_success=partial).SerializeToString())


@contextmanager
def black_hole() -> Iterator[int]:
    """Serve a port that takes requests and never answers."""
    gone = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            gone.wait()

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        gone.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(body: bytes) -> Iterator[SpanSeen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SpanSeen(
                    name=span.name,
                    kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    attributes=_attributes(span.attributes),
                    status=("unset", "ok", "error")[span.status.code],
                    message=span.status.message,
                    resource=_attributes(resource.resource.attributes),
                )


def _metrics(body: bytes) -> dict[str, Metric]:
    return {
        metric.name: metric
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def _attributes(pairs: "Iterator[KeyValue]") -> dict[str, Attribute]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Attribute:
    kind = value.WhichOneof("value")
    assert kind is not None
    found = getattr(value, kind)
    assert isinstance(found, str | int | float | bool)
    return found
