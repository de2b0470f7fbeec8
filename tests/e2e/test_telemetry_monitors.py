"""Cron jobs as Sentry watches them: what the real process tells of each tick."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from service.core.wire import Json
from tests.harness import serving, until
from tests.receivers import Receiver

JOBS: Final = """
from pathlib import Path

import trio
from service import CronJob, task

@task("flaky", retries=1, retry_base_seconds=0.01)
async def flaky(ctx) -> None:
    if ctx.attempt == 1:
        raise LookupError("not yet")

@task("broken", retries=1, retry_base_seconds=0.01)
async def broken(ctx) -> None:
    raise LookupError("never")

@task("killed")
async def killed(ctx) -> None:
    if not Path("second").exists():
        Path("second").touch()
        await trio.sleep_forever()

CRON_JOBS = [
    CronJob(id="Every Hour", schedule="MINUTE * * * *", job_id="flaky", timezone="Europe/Berlin"),
    CronJob(id="broken", schedule="MINUTE * * * *", job_id="broken"),
    CronJob(id="killed", schedule="30 MINUTE * * * *", job_id="killed"),
    CronJob(id="often", schedule="* * * * * *", job_id="echo"),
]
"""


def hourly(source: str) -> tuple[str, int]:
    """Return the source with jobs that tick half an hour from now, so never meanwhile, and when."""
    minute = (datetime.now(UTC).minute + 30) % 60
    return source.replace("MINUTE", str(minute)), minute


def settings(receiver: Receiver) -> dict[str, str]:
    return {"SENTRY_DSN": receiver.dsn, "SENTRY_CRON_MONITORS": "true"}


def set_back(home: Path) -> None:
    """Make an hour's ticks due, as if the service had been down for so long.

    What has ticked in its moments was an hour ago, too: no tick comes twice.
    """
    with sqlite3.connect(home / "data" / "runs.sqlite3") as db:
        db.execute("UPDATE cron_jobs SET since = since - 36e8, watermark = watermark - 36e8")
        db.execute("UPDATE ticks SET first = first - 36e8, last = last - 36e8")
    db.close()


def of(receiver: Receiver, slug: str) -> list[dict[str, Json]]:
    return [check for check in receiver.check_ins if check["monitor_slug"] == slug]


def words(checks: list[dict[str, Json]]) -> list[Json]:
    return [check["status"] for check in checks]


def test_each_tick_checks_in_and_out(home: Path) -> None:
    """In progress when its run begins, ok or error with its final verdict, also after a kill."""
    jobs, minute = hourly(JOBS)
    with Receiver() as receiver:
        with serving(home, jobs, **settings(receiver)) as service:
            assert service.stop() == 0
        set_back(home)
        with serving(home, **settings(receiver)) as service:
            until((home / "second").exists, "the run that is to be killed is under way")
            receiver.wait(lambda: len(receiver.check_ins) == 5)
            service.kill()
        with serving(home, **settings(receiver)) as service:
            receiver.wait(lambda: len(receiver.check_ins) == 6)
            assert service.stop() == 0
            [line] = service.logged(
                "cron jobs that tick more than once a minute are not watched by Sentry"
            )
    [named] = {str(c["monitor_slug"]) for c in receiver.check_ins} - {"broken", "killed"}
    assert named.startswith("every-hour-")
    assert words(of(receiver, named)) == ["in_progress", "ok"]
    assert words(of(receiver, "broken")) == ["in_progress", "error"]
    assert words(of(receiver, "killed")) == ["in_progress", "ok"]
    for slug in (named, "broken", "killed"):
        [check_in_id] = {str(check["check_in_id"]) for check in of(receiver, slug)}
        assert len(check_in_id) == 32
    assert of(receiver, named)[0]["monitor_config"] == {
        "schedule": {"type": "crontab", "value": f"{minute} * * * *"},
        "timezone": "Europe/Berlin",
        "checkin_margin": 5,
        "max_runtime": 11,
    }
    assert line["cron_ids"] == ["often"]


WAITING: Final = """
from service import CronJob, task

@task("later", retries=1, retry_base_seconds=3600)
async def later(ctx) -> None:
    raise LookupError("not yet")

@task("paused")
async def paused(ctx) -> None:
    pass

CRON_JOBS = [CronJob(id=job, schedule="MINUTE * * * *", job_id=job) for job in ("later", "paused")]
"""


def test_a_run_that_is_cancelled_while_it_waits_checks_out(home: Path) -> None:
    """Between two attempts it has no runner who would; a run that had not begun says nothing."""
    jobs, _ = hourly(WAITING)
    with Receiver() as receiver:
        with serving(home, jobs, **settings(receiver)) as service:
            assert service.command("pause", "paused").returncode == 0
            assert service.stop() == 0
        set_back(home)
        with serving(home, **settings(receiver)) as service:
            until(lambda: service.logged("attempt failed, to be retried"), "an attempt has failed")
            runs = until(lambda: two if len(two := service.runs()) == 2 else None, "both wait")
            for run in sorted(runs, key=lambda run: str(run["jobId"]), reverse=True):
                assert service.command("cancel", str(run["id"])).returncode == 0
            receiver.wait(lambda: len(receiver.check_ins) == 2)
            assert service.stop() == 0
    assert words(of(receiver, "later")) == ["in_progress", "error"]
    assert len(receiver.check_ins) == 2


def test_nobody_checks_in_unless_asked_to(home: Path) -> None:
    """SENTRY_CRON_MONITORS is off by default: errors are sent, check-ins are not."""
    jobs, _ = hourly(JOBS)
    with Receiver() as receiver:
        with serving(home, jobs, SENTRY_DSN=receiver.dsn) as service:
            assert service.stop() == 0
        set_back(home)
        (home / "second").touch()  # no run hangs until it is killed
        with serving(home, SENTRY_DSN=receiver.dsn) as service:
            until(lambda: service.logged("run failed"), "a tick's run has failed")
            assert service.stop() == 0
    assert len(receiver.events) == 1
    assert not receiver.check_ins
