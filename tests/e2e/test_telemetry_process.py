"""One delivery, followed through the real process: trace, log lines, metrics and error."""

import json
from pathlib import Path
from typing import Final

from tests.harness import Service, serving, until
from tests.receivers import Receiver, SpanSeen

JOBS: Final = """
import trio
from pathlib import Path
from service import task

@task("flaky", retries=2, retry_base_seconds=0.01)
async def flaky(ctx, payload: object) -> None:
    ctx.log.info("trying")
    raise LookupError("no such thing")

@task("slow", retries=0)
async def slow(ctx) -> str:
    if not Path("second").exists():
        Path("second").touch()
        await trio.sleep_forever()
    return "done"

@task("late", timeout=0.01, retries=0)
async def late(ctx) -> None:
    await trio.sleep_forever()
"""


def settings(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
        "OTLP_ENDPOINT": receiver.traces_url,
        "OTLP_METRICS_ENDPOINT": receiver.metrics_url,
        "SENTRY_DSN": receiver.dsn,
        "WEBHOOK_SECRET": "canary-webhook-secret",
    }


HEADERS: Final = {
    "Authorization": "Bearer canary-webhook-secret",
    "X-Canary": "canary-header",
    "User-Agent": "canary-agent",
    "Cookie": "canary=canary-cookie",
}


def deliver(service: Service, job_id: str) -> str:
    answer = service.client.post(
        "/webhook?token=canary-query",
        json={"jobId": job_id, "payload": {"key": "canary-payload"}, "extra": "canary-extra"},
        headers=HEADERS,
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["X-Run-Id"]


def tree(spans: list[SpanSeen]) -> dict[str, list[str]]:
    """Return the names of the children of each name, in the order of their arrival."""
    names = {span.span_id: span.name for span in spans}
    children: dict[str, list[str]] = {}
    for span in spans:
        children.setdefault(names.get(span.parent_id, ""), []).append(span.name)
    return children


def test_a_delivery_is_one_trace_with_its_logs_metrics_and_error(home: Path) -> None:
    """Two retries and a final failure: the expected tree, lines with its ids, one Sentry event."""
    with Receiver() as receiver, serving(home, JOBS, **settings(receiver)) as service:
        run_id = deliver(service, "flaky")
        service.run_until(run_id, "error")
        assert service.stop() == 0
    assert tree(receiver.spans) == {
        "": ["POST /webhook"],
        "POST /webhook": ["enqueue flaky"],
        "enqueue flaky": ["attempt flaky"] * 3,
    }
    attempts = [span for span in receiver.spans if span.name == "attempt flaky"]
    assert [span.attributes["outcome"] for span in attempts] == ["retry", "retry", "error"]
    assert {span.attributes["error.type"] for span in attempts} == {"LookupError"}
    (trace_id,) = {span.trace_id for span in receiver.spans}

    of_run = [line for line in service.log() if line.get("run_id") == run_id]
    assert [line["message"] for line in of_run] == [
        "trying",
        "attempt failed, to be retried",
        "trying",
        "attempt failed, to be retried",
        "trying",
        "run failed",
    ]
    assert {line["trace_id"] for line in of_run} == {trace_id}
    assert [line["span_id"] for line in of_run[1::2]] == [span.span_id for span in attempts]
    (request,) = service.logged("request")
    assert (request["route"], request["status"], request["trace_id"]) == ("/webhook", 202, trace_id)

    (event,) = receiver.events
    assert event["tags"] == {
        "job_id": "flaky",
        "run_id": run_id,
        "trigger": "webhook",
        "attempt": "3",
    }
    assert event["contexts"] == {"trace": {"trace_id": trace_id, "span_id": attempts[-1].span_id}}
    of_runs = {"job.runs", "job.retries", "job.attempt.duration", "job.run.wait"}
    of_store = {"job.queue.depth", "store.group.size", "store.database.size", "store.wal.size"}
    assert of_runs | of_store <= set(receiver.metrics)


def test_no_secret_is_told_to_anyone(home: Path) -> None:
    """What came in as a header, a query, a payload, a secret or a DSN goes out nowhere."""
    with (
        Receiver() as receiver,
        serving(home, JOBS, LOG_LEVEL="debug", **settings(receiver)) as service,
    ):
        service.run_until(deliver(service, "flaky"), "error")
        service.client.post(
            "/canary-path?canary", content=b"canary", headers={"Authorization": "canary"}
        )
        service.client.post("/webhook", content=b"{canary", headers=HEADERS)
        service.client.request("CANARY", "/webhook")
        assert service.stop() == 0
    assert b"canary" not in b"".join(receiver.raw).lower()
    assert "canary" not in service.log_file.read_text(encoding="utf-8").lower()


def test_a_trace_goes_on_after_the_process_was_killed(home: Path) -> None:
    """The attempt after a power cut hangs under the same delivery."""
    with Receiver() as receiver:
        with serving(home, JOBS, **settings(receiver)) as service:
            run_id = deliver(service, "slow")
            until((home / "second").exists, "the first attempt is under way")
            receiver.wait(lambda: any(span.name == "enqueue slow" for span in receiver.spans))
            service.kill()
        with serving(home, **settings(receiver)) as service:
            service.run_until(run_id, "ok")
            assert service.stop() == 0
    (attempt,) = (span for span in receiver.spans if span.name == "attempt slow")
    assert attempt.parent_id == receiver.span("enqueue slow").span_id
    assert attempt.attributes["run.crashes"] == 1
    assert not receiver.events


def test_a_timeout_is_marked(home: Path) -> None:
    """An attempt that took too long says so in its span, in our words."""
    with Receiver() as receiver, serving(home, JOBS, **settings(receiver)) as service:
        service.run_until(deliver(service, "late"), "error")
        assert service.stop() == 0
    attempt = receiver.span("attempt late")
    assert (attempt.status, attempt.attributes["error.type"]) == ("error", "timeout")
    assert "timed out after 0.01 s" in attempt.message
    assert "timed out after 0.01 s" in json.dumps(receiver.events)


def test_health_probes_are_not_told(home: Path) -> None:
    """Kubernetes asks every few seconds: no span, no line."""
    with Receiver() as receiver, serving(home, JOBS, **settings(receiver)) as service:
        assert service.client.get("/_health").status_code == 200
        assert service.stop() == 0
    assert not receiver.spans
    assert not service.logged("request")


def test_a_laptop_without_collectors_is_told_once(home: Path) -> None:
    """With nobody at the default endpoint, the log has one warning and the service stops well."""
    with Receiver() as gone:
        nowhere = settings(gone)
    with serving(home, JOBS, OTEL_EXPORTER_OTLP_TIMEOUT="0.1", **nowhere) as service:
        for _ in range(20):
            service.run_until(deliver(service, "flaky"), "error")
        until(lambda: service.logged("traces cannot be delivered") or None, "the fault is said")
        assert service.stop() == 0
    for signal in ("traces", "errors"):
        assert len(service.logged(f"{signal} cannot be delivered")) == 1


def test_a_tick_is_the_start_of_a_trace(home: Path) -> None:
    """A run by the clock hangs under its tick, in the trace and in the metrics."""
    jobs = f"""{JOBS}
from service import CronJob
CRON_JOBS = [CronJob(id="each-second", schedule="* * * * * *", job_id="echo", payload=1)]
"""
    with Receiver() as receiver, serving(home, jobs, **settings(receiver)) as service:
        receiver.wait(lambda: any(span.name == "attempt echo" for span in receiver.spans))
        assert service.stop() == 0
    attempt = next(span for span in receiver.spans if span.name == "attempt echo")
    (tick,) = (span for span in receiver.spans if span.span_id == attempt.parent_id)
    assert (tick.name, tick.kind, tick.parent_id) == ("tick each-second", "producer", "")
    assert tick.attributes["run.id"] == attempt.attributes["run.id"]
    assert attempt.attributes["cron.id"] == "each-second"
    assert {"cron.ticks", "cron.lateness"} <= set(receiver.metrics)
