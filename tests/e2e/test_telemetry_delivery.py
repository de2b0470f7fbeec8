"""One delivery, followed through the real process: trace, log lines, metrics and error."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import attrs

from service.core.wire import Json
from tests.harness import Service, serving, until
from tests.receivers import Receiver, SpanSeen

JOBS: Final = """
import os
from pathlib import Path

import trio
from service import task

URL, TOKEN = os.environ["CANARY_URL"], {"Authorization": os.environ["CANARY_TOKEN"]}

async def fetch(ctx):
    return (await ctx.http.get(URL, headers=TOKEN)).status_code

@task("review", retries=2, retry_base_seconds=0.01)
async def review(ctx, payload: object) -> None:
    await ctx.step("fetch", fetch, ctx)
    if ctx.attempt == 2 and Path("hang").exists():
        Path("hang").unlink()
        await trio.sleep_forever()
    await ctx.http.post(URL, json=payload, headers=TOKEN)
"""

CALLER: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"

TREE: Final = """\
POST /webhook
  enqueue review
    attempt review
      step fetch
        GET
      POST
    attempt review
      POST
    attempt review
      POST"""

BEFORE: Final = TREE[: TREE.index("POST\n    attempt") + 4]
"""What has been told once the first attempt has ended."""

LINES: Final = [
    ("request", "POST /webhook"),
    ("step done", "attempt review"),
    ("attempt failed, to be retried", "attempt review"),
    ("attempt failed, to be retried", "attempt review"),
    ("run failed", "attempt review"),
]


@attrs.frozen
class Neighbour:
    """Another service: it answers a GET, refuses a POST, and keeps each `traceparent`."""

    url: str
    traceparents: list[str]


@contextmanager
def neighbour() -> Iterator[Neighbour]:
    traceparents: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(422)

        def _answer(self, status: int) -> None:
            traceparents.append(self.headers["traceparent"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            place = f"127.0.0.1:{server.server_port}"
            url = f"http://canary-user:canary-password@{place}/canary-path?token=canary-query"
            yield Neighbour(url, traceparents)
        finally:
            server.shutdown()
            thread.join()


def settings(receiver: Receiver, other: Neighbour) -> dict[str, str]:
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
        "OTLP_ENDPOINT": receiver.traces_url,
        "OTLP_METRICS_ENDPOINT": receiver.metrics_url,
        "SENTRY_DSN": receiver.dsn,
        "WEBHOOK_SECRET": "canary-webhook-secret",
        "LOG_LEVEL": "debug",
        "CANARY_URL": other.url,
        "CANARY_TOKEN": "Bearer canary-token",
    }


HEADERS: Final = {
    "Authorization": "Bearer canary-webhook-secret",
    "Cookie": "canary=canary-cookie",
    "User-Agent": "canary-agent",
    "X-Canary": "canary-header",
    "X-Hub-Signature-256": "sha256=canary-signature",
    "baggage": "canary=canary-baggage",
    "traceparent": CALLER,
}


def deliver(service: Service) -> str:
    answer = service.client.post(
        "/webhook?token=canary-query",
        json={
            "jobId": "review",
            "payload": {"headers": {"Authorization": "canary-payload"}, "canary-key": 1},
            "extra": "canary-extra",
        },
        headers=HEADERS,
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["X-Run-Id"]


def assert_told(receiver: Receiver, other: Neighbour, lines: list[dict[str, Json]]) -> None:
    """Assert that the one delivery is one story, the same to everyone."""
    assert receiver.tree() == TREE
    spans = sorted(receiver.spans, key=lambda span: span.began)
    assert {span.trace_id for span in spans} == {TRACE_ID}
    assert spans[0].parent_id == CALLER.split("-")[2]
    attempts = [span for span in spans if span.name == "attempt review"]
    assert [span.attributes["outcome"] for span in attempts] == ["retry", "retry", "error"]
    assert [span.attributes["run.attempt"] for span in attempts] == [1, 2, 3]
    assert {span.attributes["error.type"] for span in attempts} == {
        "service.tasks.exchange.HttpError"
    }
    _assert_outbound(spans, other)
    _assert_logged(spans, attempts, lines)
    _assert_reported(receiver, attempts)


def _assert_outbound(spans: list[SpanSeen], other: Neighbour) -> None:
    """Each request that the other service got names the span that made it."""
    calls = [span for span in spans if span.kind == "client"]
    assert [span.attributes["http.response.status_code"] for span in calls] == [200, 422, 422, 422]
    assert [text.rsplit("-", 1)[0] for text in other.traceparents] == [
        f"00-{TRACE_ID}-{span.span_id}" for span in calls
    ]


def _assert_logged(
    spans: list[SpanSeen], attempts: list[SpanSeen], lines: list[dict[str, Json]]
) -> None:
    """Each line names the trace, and the span in which it was said."""
    names = {span.span_id: span.name for span in spans}
    of_trace = [line for line in lines if line.get("trace_id") == TRACE_ID]
    told = [line for line in of_trace if line["level"] != "debug"]
    assert [(line["message"], names[str(line["span_id"])]) for line in told] == LINES
    assert [line["span_id"] for line in told[2:]] == [span.span_id for span in attempts]
    run_ids = {line.get("run_id") for line in told[1:]}
    assert run_ids == {attempts[0].attributes["run.id"]}


def _assert_reported(receiver: Receiver, attempts: list[SpanSeen]) -> None:
    """The final failure, and nothing else, is an event that leads to the last attempt."""
    (event,) = receiver.events
    last = attempts[-1]
    assert event["tags"] == {
        "job_id": "review",
        "run_id": last.attributes["run.id"],
        "trigger": "webhook",
        "attempt": "3",
    }
    assert event["contexts"] == {"trace": {"trace_id": TRACE_ID, "span_id": last.span_id}}
    ended = {"job.id": "review", "run.trigger": "webhook", "outcome": "error"}
    assert receiver.points("job.runs") == [(ended, 1)]


def assert_no_canary(receiver: Receiver, *logs: str) -> None:
    assert b"canary" not in b"".join(receiver.raw).lower()
    assert "canary" not in "".join(logs).lower()


def test_a_delivery_is_one_story(home: Path) -> None:
    """Two retries and a final failure: the expected tree, lines, metrics, and one event."""
    with (
        Receiver() as receiver,
        neighbour() as other,
        serving(home, JOBS, **settings(receiver, other)) as service,
    ):
        service.run_until(deliver(service), "error")
        assert service.stop() == 0
    assert_told(receiver, other, service.log())
    assert receiver.points("job.retries") == [({"job.id": "review"}, 2)]
    assert receiver.points("job.crashes") == [({}, 0)]
    of_store = {"job.queue.depth", "store.group.size", "store.database.size", "store.wal.size"}
    of_attempts = {"job.attempt.duration", "job.run.wait", "http.server.request.duration"}
    assert of_store | of_attempts <= set(receiver.metrics)
    assert_no_canary(receiver, service.log_file.read_text(encoding="utf-8"))


def test_a_delivery_is_one_story_although_the_process_was_killed(home: Path) -> None:
    """A power cut during the second attempt: both processes together tell the same story."""
    (home / "hang").touch()
    with Receiver() as receiver, neighbour() as other:
        with serving(home, JOBS, **settings(receiver, other)) as service:
            run_id = deliver(service)
            until(lambda: not (home / "hang").exists(), "the second attempt is under way")
            receiver.wait(lambda: receiver.tree() == BEFORE)
            until(lambda: service.logged("attempt failed, to be retried"), "its lines are out")
            service.kill()
            before, log = service.log(), service.log_file.read_text(encoding="utf-8")
        with serving(home, **settings(receiver, other)) as service:
            service.run_until(run_id, "error")
            assert service.stop() == 0
    assert_told(receiver, other, before + service.log())
    crashes = [span.attributes.get("run.crashes") for span in receiver.spans]
    assert crashes.count(1) == 2
    assert receiver.points("job.crashes") == [({}, 1)]
    assert receiver.points("job.retries") == [({"job.id": "review"}, 1)]
    assert_no_canary(receiver, log, service.log_file.read_text(encoding="utf-8"))


def test_what_is_refused_is_told_without_its_secrets(home: Path) -> None:
    """Strangers, broken bodies, unknown paths and methods: none of their words goes out."""
    with (
        Receiver() as receiver,
        neighbour() as other,
        serving(home, JOBS, **settings(receiver, other)) as service,
    ):
        post = service.client.post
        post("/canary-path?canary", content=b"canary", headers={"Authorization": "canary"})
        post("/webhook", content=b"{}", headers={"Authorization": "Bearer canary-wrong"})
        post("/webhook", content=b"{canary", headers=HEADERS)
        post("/webhook", json={"jobId": "canary"}, headers=HEADERS)
        service.client.request("CANARY", "/webhook")
        assert service.stop() == 0
    assert [line["status"] for line in service.logged("request")] == [404, 401, 400, 500, 405]
    assert len(receiver.spans) == 5
    assert_no_canary(receiver, service.log_file.read_text(encoding="utf-8"))
