"""Whatever answers in a collector's place, little of it is read, and the signals count as sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader, BytesIO, RawIOBase

import pytest
from urllib3 import HTTPResponse

from service.observability.answers import BYTES, beginning_of
from service.observability.probe import probe_telemetry
from service.settings import Secret, Settings


class Endless(RawIOBase):
    """A body that never ends."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        assert isinstance(buffer, bytearray | memoryview)
        return len(buffer)


def answer_of(body: BufferedReader | BytesIO) -> HTTPResponse:
    return HTTPResponse(body, preload_content=False)


def test_a_short_answer_is_read_whole() -> None:
    """The connection is then free for the next request."""
    assert beginning_of(answer_of(BytesIO(b"{}"))) == b"{}"


@pytest.mark.parametrize(("seconds", "least"), [(3600, BYTES), (0, 1)], ids=["long", "slow"])
def test_an_answer_without_end_is_left(seconds: float, least: int) -> None:
    """Too large, or too slow: what has come is returned, and the connection closed."""
    answer = answer_of(BufferedReader(Endless()))
    assert least <= len(beginning_of(answer, seconds)) <= BYTES
    assert answer.closed


@contextmanager
def babbling() -> Iterator[str]:
    """Serve a place that answers 200, and then goes on for as long as somebody listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b"x" * BYTES)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_each_signal_is_sent_to_who_never_stops_talking() -> None:
    """Its memory is its own: nobody waits for the end of what it says."""
    with babbling() as place:
        found = list(
            probe_telemetry(
                Settings(
                    otlp_endpoint=f"http://{place}/v1/traces",
                    otlp_metrics_endpoint=f"http://{place}/v1/metrics",
                    sentry_dsn=Secret(f"http://key@{place}/42"),
                )
            )
        )
    assert [probed.fault for probed in found] == [None, None, None]
