"""Limits of tasks, kept by the real process."""

from pathlib import Path

from tests.harness import Service, serving, until

JOBS = """
import attrs, trio
from pathlib import Path
from service import Context, task

at_work = 0

@task("one", max_concurrency=1)
async def one(ctx: Context) -> int:
    global at_work
    at_work += 1
    try:
        await trio.lowlevel.checkpoint()
        while not Path("go").exists():
            await trio.sleep(0.01)
        return at_work
    finally:
        at_work -= 1

@task("other")
async def other(ctx: Context) -> None:
    return None
"""


def accepted(service: Service, job_id: str) -> str:
    answer = service.post({"jobId": job_id})
    assert answer.status_code == 202
    return answer.headers["X-Run-Id"]


def test_a_full_task_waits_and_lets_others_pass(home: Path) -> None:
    """Of thirty runs one is at work at a time, in order; other tasks do not notice."""
    with serving(home, JOBS) as service:
        ones = [accepted(service, "one") for _ in range(30)]
        service.run_until(accepted(service, "other"), "ok")
        statuses = [service.run(run_id)["status"] for run_id in ones]
        assert statuses == ["running"] + ["queued"] * 29
        (home / "go").touch()
        until(lambda: service.run(ones[-1])["status"] == "ok", "all have run")
        runs = [service.run(run_id) for run_id in ones]
        assert [run["result"] for run in runs] == [{"status": "ok", "data": 1}] * 30
        started = [str(run["startedAt"]) for run in runs]
        assert started == sorted(started)


def test_a_limit_that_cannot_be_kept_stops_the_start(home: Path) -> None:
    """`service check` names the place, the option, and what it may hold."""
    with serving(home, JOBS) as service:
        (home / "jobs.py").write_text(JOBS.replace("max_concurrency=1", 'rate="often"'))
        checked = service.command("check")
    assert checked.returncode == 78
    assert (
        "jobs.py:8: task 'one': rate: 'often' is not a rate such as \"30/minute\"" in checked.stderr
    )
