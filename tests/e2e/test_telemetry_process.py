"""What the real process tells of ticks and timeouts, and of what it keeps silent."""

import json
from pathlib import Path
from typing import Final

from tests.harness import Service, serving, until
from tests.receivers import Receiver

JOBS: Final = """
import trio
from service import task

@task("flaky", retries=2, retry_base_seconds=0.01)
async def flaky(ctx) -> None:
    raise LookupError("no such thing")

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
    }


def deliver(service: Service, job_id: str) -> str:
    answer = service.post({"jobId": job_id})
    assert answer.status_code == 202, answer.text
    return answer.headers["X-Run-Id"]


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


def test_runs_that_are_cancelled_say_so(home: Path) -> None:
    """By a newer tick or by the operator: in the span, in the log and among the runs."""
    jobs = f"""{JOBS}
from service import CronJob
@task("hang")
async def hang(ctx) -> None:
    await trio.sleep_forever()
CRON_JOBS = [CronJob(id="each-second", schedule="* * * * * *", job_id="hang",
                     overlap="cancel_previous")]
"""
    cancelled = {"job.id": "hang", "outcome": "cancelled"}
    with (
        Receiver() as receiver,
        serving(home, jobs, SHUTDOWN_GRACE_SECONDS="0", **settings(receiver)) as service,
    ):
        run_id = deliver(service, "hang")
        service.run_until(run_id, "running")
        assert service.command("cancel", run_id).returncode == 0
        until(lambda: service.logged("run cancelled for a newer tick"), "a newer tick came")
        assert service.stop() == 0
        taken = service.logged("run was taken from its runner")
    runs = [labels for labels, _ in receiver.points("job.runs")]
    assert {**cancelled, "run.trigger": "cron"} in runs
    assert {**cancelled, "run.trigger": "webhook"} in runs
    assert cancelled in [labels for labels, _ in receiver.points("job.attempt.duration")]
    attempts = [span.attributes for span in receiver.spans if span.name == "attempt hang"]
    marked = {each["run.id"] for each in attempts if each["outcome"] == "cancelled"}
    assert marked == {line["run_id"] for line in taken}
