"""`service cron`, `next` and `verify`, against the real process and its file."""

import json
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from service.core.wire import Json
from tests.harness import launch, serving, until

JOBS = """
from service import Context, CronJob, task
import trio

@task("slow")
async def slow(ctx: Context) -> None:
    await trio.sleep(1.5)

CRON_JOBS = [
    CronJob(id="seconds", schedule="* * * * * *", job_id="echo", payload={"n": 1}),
    CronJob(id="lazy", schedule="* * * * * *", job_id="slow"),
    CronJob(id="nightly", schedule="30 2 * * *", job_id="echo", timezone="Europe/Berlin"),
]
"""


def test_cron_by_the_second_runs_on_time_and_is_accounted_for(home: Path) -> None:
    """Ticks run once each, overlaps are skipped, a restart catches up, and verify agrees."""
    with serving(home, JOBS) as service:
        until(lambda: len(_ticks(service.runs(), "seconds")) >= 3, "three ticks have run")
        until(lambda: service.logged("ticks did not run"), "an overlapping tick was skipped")
        listed = json.loads(service.command("cron", "--json").stdout)
        assert [job["id"] for job in listed] == ["seconds", "lazy", "nightly"]
        assert listed[0]["outcome"] == "ran"
        assert listed[2]["lastTick"] is None
        lines = service.logged("run succeeded")
        told = next(line for line in lines if line["cron_id"] == "seconds")
        assert told["tick"] in _ticks(service.runs(), "seconds")
        assert float(str(told["late_ms"])) >= 0
        assert len(listed[2]["next"]) == 5
        assert service.command("verify").returncode == 0
        assert service.stop() == 0
    with serving(home) as service:
        until(lambda: len(_ticks(service.runs(), "seconds")) >= 5, "ticks go on after a restart")
        ticks = _ticks(service.runs(), "seconds")
        assert len(ticks) == len(set(ticks))
        assert service.command("verify").returncode == 0
        service.kill()
    stopped = launch(home)
    stopped.kill()
    done = stopped.command("verify")
    assert (done.returncode, done.stdout.splitlines()[-1].split(": ")[1]) == (0, "no differences")


def test_stalled_process_loses_no_tick_and_repeats_none(home: Path) -> None:
    """A process that was suspended accounts for the ticks in between when it goes on."""
    with serving(home, JOBS) as service:
        until(lambda: len(_ticks(service.runs(), "seconds")) >= 2, "two ticks have run")
        service.signal(signal.SIGSTOP)
        resumed = time.time() + 3
        until(lambda: time.time() >= resumed, "three seconds have passed")
        service.signal(signal.SIGCONT)
        until(
            lambda: [
                line
                for line in service.logged("ticks did not run")
                if (line["cron_id"], line["outcome"]) == ("seconds", "coalesced")
            ],
            "the ticks of the stall are accounted for",
        )
        ticks = _ticks(service.runs(), "seconds")
        assert len(ticks) == len(set(ticks))
        assert service.command("verify").returncode == 0


POLICIES = """
from service import Context, CronJob, task
import trio

@task("wait", retries=3, retry_base_seconds=0)
async def wait(ctx: Context, payload: float) -> str:
    await trio.sleep(payload)
    return str(ctx.tick)

@task("fail", retries=3, retry_base_seconds=0)
async def fail(ctx: Context) -> None:
    raise RuntimeError("always")

CRON_JOBS = [
    CronJob(id="newest", schedule="* * * * * *", job_id="wait", payload=600,
            overlap="cancel_previous"),
    CronJob(id="once", schedule="* * * * * *", job_id="fail", retries=0),
    CronJob(id="brief", schedule="* * * * * *", job_id="wait", payload=600, retries=0,
            timeout=0.2),
    CronJob(id="off", schedule="* * * * * *", job_id="wait", payload=0, enabled=False),
]
"""


def test_each_job_has_its_own_policies(home: Path) -> None:
    """A job's overlap, retries, timeout and enabled hold for its runs, whatever its task's are."""
    with serving(home, POLICIES, SHUTDOWN_GRACE_SECONDS="0") as service:

        def ended(cron_id: str, status: str) -> list[dict[str, Json]]:
            wanted = (cron_id, status)
            return [run for run in service.runs() if (run["cronId"], run["status"]) == wanted]

        cancelled = until(lambda: ended("newest", "cancelled"), "a newer tick has cancelled one")
        failed = until(lambda: ended("once", "error"), "a run without retries has failed")
        late = until(lambda: ended("brief", "error"), "a run has timed out")
        assert "cancelled" in str(cancelled[0]["result"])
        assert (failed[0]["attempt"], failed[0]["maxAttempts"]) == (1, 1)
        assert "timed out after 0.2 s" in str(late[0]["result"])
        assert not _ticks(service.runs(), "off")
        assert service.command("verify").returncode == 0
        assert service.stop() == 0


def _ticks(runs: list[dict[str, Json]], cron_id: str) -> list[object]:
    return [run["tick"] for run in runs if run["cronId"] == cron_id]


def test_verify_finds_what_is_missing(home: Path) -> None:
    """A record that somebody took away is named, and the exit code is 1."""
    with serving(home, JOBS) as service:
        until(lambda: len(_ticks(service.runs(), "seconds")) >= 4, "four ticks have run")
        assert service.stop() == 0
    database = sqlite3.connect(home / "data" / "runs.sqlite3")
    [(first,)] = database.execute(
        "SELECT first FROM ticks WHERE cron_id = 'seconds' ORDER BY first LIMIT 1 OFFSET 1"
    ).fetchall()
    database.execute("DELETE FROM ticks WHERE cron_id = 'seconds' AND first = ?", (first,))
    database.commit()
    database.close()
    done = service.command("verify")
    assert done.returncode == 1
    assert "seconds: " in done.stdout
    assert "no record of these ticks (1 expected, 0 recorded)" in done.stdout
    assert done.stdout.endswith(": 1 difference\n")
    [difference] = json.loads(service.command("verify", "--json").stdout)["differences"]
    assert (difference["expected"], difference["recorded"]) == (1, 0)


def test_changed_jobs_are_announced(home: Path) -> None:
    """`service check` says what the next start will change."""
    with serving(home, JOBS) as service:
        assert service.stop() == 0
    changed = JOBS.replace('"30 2 * * *"', '"0 3 * * *"').replace('id="lazy"', 'id="lazier"')
    (home / "jobs.py").write_text(changed, encoding="utf-8")
    done = service.command("check")
    assert done.returncode == 0
    said = [line for line in done.stdout.splitlines() if line.startswith("changed since")]
    assert said == [
        "changed since the last start: lazier: new",
        "changed since the last start: nightly: was '30 2 * * *' in Europe/Berlin; begins anew",
        "changed since the last start: lazy: gone; its history stays",
    ]


def test_next_knows_the_night_when_clocks_change(home: Path) -> None:
    """JSON is a list of instants in UTC: the skipped 02:30 runs right after the gap."""
    service = launch(home)
    service.kill()
    words = ["next", "30 2 * * *", "--tz", "Europe/Berlin", "--from", "2026-03-28T00:00", "-n", "3"]
    assert json.loads(service.command(*words, "--json").stdout) == [
        "2026-03-28T01:30:00.000Z",
        "2026-03-29T01:00:00.000Z",
        "2026-03-30T00:30:00.000Z",
    ]
    assert "2026-03-29 03:00:00+02:00" in service.command(*words).stdout


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["61 * * * *"], "field 1 (minute)"),
        (["* * * * * * *"], "fields"),
        (["0 0 31 2 *"], "never"),
        (["* * * * *", "--tz", "Mars/Olympus"], "Mars/Olympus"),
        (["* * * * *", "--from", "tomorrow"], "tomorrow"),
        (["* * * * *", "--from", "9999-12-31"], "9999"),
        (["* * * * *", "-n", "0"], "-n"),
    ],
)
def test_next_explains_what_it_refuses(home: Path, words: list[str], names: str) -> None:
    """Whatever is wrong with the question, the answer names it, without a traceback."""
    service = launch(home)
    service.kill()
    done = service.command("next", *words)
    assert done.returncode in {1, 2}
    assert names in done.stderr
    assert "Traceback" not in done.stderr


def test_start_with_a_wrong_schedule_is_refused(home: Path) -> None:
    """A schedule that cannot be, or that names an unknown task, stops the start with its place."""
    for wrong, names in (
        (JOBS.replace('"30 2 * * *"', '"30 2 * * funday"'), "field 5 (day of week)"),
        (JOBS.replace('job_id="slow"', 'job_id="slower"'), "slower"),
        (JOBS.replace("Europe/Berlin", "Europe/Atlantis"), "Europe/Atlantis"),
        (JOBS.replace('@task("slow")', '@task("echo")'), "echo"),
        (JOBS.replace('id="lazy"', 'id="seconds"'), "seconds"),
    ):
        service = launch(home, wrong)
        assert service.wait() == 78
        said = service.log_file.read_text(encoding="utf-8")
        assert names in said
        assert "jobs" in said
        assert [line for line in said.splitlines() if not line.startswith("service: ")] == []
        assert service.command("check").returncode == 78
    assert not (home / "data").exists()
