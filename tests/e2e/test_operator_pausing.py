"""`service pause` and `service resume`, against the real process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import Service, launch, serving, until

JOBS = """
from service import Context, CronJob, task

@task("tick")
async def tick(ctx: Context) -> None:
    pass

CRON_JOBS = [
    CronJob(id="seconds", schedule="* * * * * *", job_id="tick", overlap="queue_one"),
]
"""


def test_a_paused_job_is_accepted_and_accounted_for_but_does_not_run(home: Path) -> None:
    """Webhooks get 202, ticks their record, other jobs their turn; a restart changes nothing."""
    with serving(home, JOBS) as service:
        assert service.command("pause", "tick").stdout == "paused: tick\n"
        assert service.command("pause", "tick").returncode == 0
        held = service.post({"jobId": "tick"}).headers["X-Run-Id"]
        passed = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(passed, "ok")
        until(lambda: _records(service) >= 2, "ticks are accounted for")
        assert service.run(held)["status"] == "queued"
        assert service.command("verify").returncode == 0
        assert service.stop() == 0
    with serving(home) as service:
        passed = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(passed, "ok")
        assert service.run(held)["status"] == "queued"
        done = service.command("resume", "tick", "--json")
        assert json.loads(done.stdout) == {"paused": [], "all": False}
        service.run_until(held, "ok")
        assert service.command("verify").returncode == 0


def _records(service: Service) -> int:
    """Count the ticks that found a run of theirs waiting."""
    return len(service.logged("ticks did not run"))


def test_every_job_is_paused_in_the_file_of_a_stopped_service(home: Path) -> None:
    """So that a service whose runs do harm can be started and looked at."""
    with serving(home) as service:
        assert service.stop() == 0
    assert "every job is paused" in service.command("pause", "--all").stdout
    with serving(home) as service:
        held = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        refused = service.command("resume", "echo")
        assert refused.returncode == 1
        assert "`service resume --all`" in refused.stderr
        assert service.run(held)["status"] == "queued"
        assert service.command("resume", "--all").stdout == "no job is paused\n"
        service.run_until(held, "ok")
        refused = service.command("resume", "--all")
        assert (refused.returncode, refused.stderr) == (1, "Error: no job is paused\n")


def test_who_waits_for_a_paused_run_is_told_so(home: Path) -> None:
    """`--wait` says on stderr that the job is paused and what lets it go on; then how it ended."""
    with serving(home) as service:
        assert service.command("pause", "echo").returncode == 0
        with subprocess.Popen(
            [sys.executable, "-m", "service", "trigger", "echo", "--wait", "--json"],
            cwd=service.home,
            env=service.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            assert waiting.stderr is not None
            told = waiting.stderr.readline()
            assert "waits: echo is paused; `service resume echo` lets it go on" in told
            assert service.command("resume", "echo").returncode == 0
            stdout, _ = waiting.communicate(timeout=60)
        assert (waiting.returncode, json.loads(stdout)["status"]) == (0, "ok")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["pause", "eco"], 1, "there is no task 'eco', only echo, heartbeat"),
        (["pause"], 2, "give a JOB or --all"),
        (["resume", "echo", "--all"], 2, "give a JOB or --all"),
    ],
)
def test_what_is_to_be_paused_is_named(home: Path, words: list[str], code: int, says: str) -> None:
    """An unknown job is refused with those there are, also when no service runs."""
    stopped = launch(home)
    stopped.kill()
    done = stopped.command(*words)
    assert done.returncode == code
    assert says in done.stderr
