"""`service show`, `stats`, `top`, `runs --follow` and `prune`, against the real process."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.core.wire import Json
from tests.harness import Service, serving, short_home, until

JOBS = """
import trio

from service import Context, CronJob, Permanent, task

@task("flaky", retries=1, retry_base_seconds=0)
async def flaky(ctx: Context) -> int:
    if ctx.attempt == 1:
        raise OSError("the first time fails")
    return ctx.attempt

@task("stepped", retry_base_seconds=0)
async def stepped(ctx: Context) -> None:
    await ctx.step("fetch", int)
    if ctx.attempt == 1:
        raise OSError("after the step")

@task("fail", retries=0)
async def fail(ctx: Context) -> None:
    raise Permanent("no use")

@task("sleep")
async def sleep(ctx: Context) -> None:
    await trio.sleep_forever()

CRON_JOBS = [CronJob(id="yearly", schedule="@yearly", job_id="flaky")]
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with short_home() as home, serving(home, JOBS, RUNNERS="2") as running:
        yield running


def told(service: Service, *words: str) -> str:
    done = service.command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_show_tells_what_happened(service: Service) -> None:
    """Each attempt with its reason, and the end, as a timeline and as JSON."""
    run_id = service.post({"jobId": "flaky"}, {"X-GitHub-Delivery": "d-1"}).headers["X-Run-Id"]
    service.run_until(run_id, "ok")
    shown = json.loads(told(service, "show", run_id, "--json"))
    assert [(past["attempt"], past["ending"]) for past in shown["attempts"]] == [(1, "failed")]
    assert "the first time fails" in shown["attempts"][0]["message"]
    text = told(service, "show", run_id)
    for part in ("accepted: webhook, delivery d-1", "attempt 1 failed", "attempt 2", "ended: ok"):
        assert part in text


def test_show_tells_of_steps(service: Service) -> None:
    """A step that is done stands in the timeline where it was done."""
    run_id = service.post({"jobId": "stepped"}).headers["X-Run-Id"]
    service.run_until(run_id, "ok")
    shown = json.loads(told(service, "show", run_id, "--json"))
    assert [step["name"] for step in shown["steps"]] == ["fetch"]
    text = told(service, "show", run_id)
    places = [text.index(part) for part in ("attempt 1 failed", "step 'fetch' done", "attempt 2")]
    assert places == sorted(places)


def test_show_tells_of_stops_and_crashes(home: Path) -> None:
    """An attempt that a stop or a crash cut short is in the story."""
    with serving(home, JOBS, SHUTDOWN_GRACE_SECONDS="0") as service:
        run_id = service.post({"jobId": "sleep"}).headers["X-Run-Id"]
        service.run_until(run_id, "running")
        assert service.stop() == 0
    with serving(home) as service:
        service.run_until(run_id, "running")
        service.kill()
    with serving(home) as service:
        service.run_until(run_id, "running")
        shown = json.loads(told(service, "show", run_id, "--json"))
        endings = [(past["attempt"], past["ending"]) for past in shown["attempts"]]
        assert endings == [(1, "interrupted"), (1, "crashed")]
        assert "attempt 1 is running" in told(service, "show", run_id)
        assert service.command("cancel", run_id).returncode == 0


def test_stats_count_by_job(service: Service) -> None:
    """Runs, ends, times and what waits; a job that is paused says so."""
    for _ in range(3):
        run_id = service.post({"jobId": "fail"}).headers["X-Run-Id"]
        service.run_until(run_id, "error")
    assert service.command("pause", "heartbeat").returncode == 0
    service.post({"jobId": "heartbeat"})
    counted = json.loads(told(service, "stats", "--json"))
    assert counted["fail"]["runs"] == counted["fail"]["failed"] == 3
    assert 0 <= counted["fail"]["p50Seconds"] <= counted["fail"]["p95Seconds"]
    assert (counted["heartbeat"]["queued"], counted["heartbeat"]["paused"]) == (1, True)
    assert "1, paused" in told(service, "stats")
    assert service.command("resume", "heartbeat").returncode == 0


def test_top_shows_what_goes_on(service: Service) -> None:
    """Who runs, what waits and since when, the next ticks, and rates from the second look on."""
    run_ids = [service.post({"jobId": "sleep"}).headers["X-Run-Id"] for _ in range(3)]
    for run_id in run_ids[:2]:
        service.run_until(run_id, "running")
    lines = told(service, "top", "-n", "2", "--json", "--every", "1s").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert {run["id"] for run in first["running"]} == set(run_ids[:2])
    assert [(queue["jobId"], queue["queued"]) for queue in first["queues"]] == [("sleep", 1)]
    assert [tick["cronId"] for tick in first["next"]] == ["yearly"]
    assert (first["acceptedPerSecond"], second["acceptedPerSecond"]) == (None, 0)
    seen = told(service, "top", "-n", "1")
    assert run_ids[0] in seen
    assert "yearly" in seen
    for run_id in run_ids:
        assert service.command("cancel", run_id).returncode == 0


@contextmanager
def following(service: Service, *words: str) -> Iterator[list[dict[str, Json]]]:
    """Hold what `service runs --follow --json` has printed so far."""
    printed = service.home / "followed.jsonl"
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "runs", "--follow", "--json", *words],
            cwd=service.home,
            env=service.environ,
            stdout=output,
        )

    class Lines(list[dict[str, Json]]):
        def __iter__(self) -> Iterator[dict[str, Json]]:
            text = printed.read_text(encoding="utf-8")
            return iter([json.loads(line) for line in text.splitlines(keepends=True)])

    try:
        yield Lines()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_follow_tells_each_change_once(service: Service) -> None:
    """What there is comes first; then every run, as it comes and until it has ended."""
    old = service.post({"jobId": "flaky"}).headers["X-Run-Id"]
    service.run_until(old, "ok")
    with following(service, "--job-id", "flaky", "--limit", "1") as lines:
        until(lambda: [line["id"] for line in lines] == [old], "the newest run is listed")
        new = service.post({"jobId": "flaky"}).headers["X-Run-Id"]
        other = service.post({"jobId": "fail"}).headers["X-Run-Id"]
        service.run_until(other, "error")
        until(lambda: any(line["status"] == "ok" for line in lines if line["id"] == new), "its end")
        told_of = [(line["status"], line["attempt"]) for line in lines if line["id"] == new]
        assert told_of[-1] == ("ok", 2)
        assert len(told_of) == len(set(told_of))
        assert {line["id"] for line in lines} == {old, new}


def test_prune_forgets_what_has_ended(home: Path) -> None:
    """A dry run only counts; what has not ended stays, and verify goes on to agree."""
    with serving(home, JOBS) as service:
        ended = [service.post({"jobId": "echo"}).headers["X-Run-Id"] for _ in range(250)]
        for run_id in ended:
            service.run_until(run_id, "ok")
        running = service.post({"jobId": "sleep"}).headers["X-Run-Id"]
        service.run_until(running, "running")
        assert "0 runs that ended before" in told(service, "prune", "--before", "1h")
        counted = json.loads(told(service, "prune", "--before", "0s", "--dry-run", "--json"))
        assert (counted["runs"], counted["dryRun"]) == (250, True)
        assert len(service.runs()) == 251
        assert "250 runs" in told(service, "prune", "--before", "0s")
        assert [run["id"] for run in service.runs()] == [running]
        assert service.command("verify").returncode == 0
        wrong = service.command("prune", "--before", "2999-01-01")
        assert (wrong.returncode, "has not been yet" in wrong.stderr) == (2, True)
