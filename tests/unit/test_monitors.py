"""What Sentry is told to expect of each cron job."""

from pathlib import Path

import attrs
import pytest

from service.core.cronjob import CronJob
from service.monitoring import monitors_of
from service.observability.logs import logging_to
from service.observability.monitors import MINUTES_MAX, Monitor, crontab_of, slug_of
from service.settings import LogFormat, Secret, Settings
from service.tasks.loading import Workload
from service.tasks.task import Task

SETTINGS = Settings(sentry_dsn=Secret("https://key@example.org/42"), sentry_cron_monitors=True)
TASK = Task(
    id="report",
    function=lambda _ctx, *_payload: None,
    place="jobs.py:1",
    is_async=False,
    takes_payload=False,
    payload_type=object,
)
JOB = CronJob(id="morning", schedule="0 9 * * mon-fri", job_id="report", timezone="Europe/Berlin")


def workload(*jobs: CronJob, task: Task = TASK) -> Workload:
    return Workload({task.id: task}, jobs)


@pytest.mark.parametrize(
    ("schedule", "crontab"),
    [
        ("0  9 * * mon-fri", "0 9 * * mon-fri"),
        ("@daily", "@daily"),
        ("30 */5 * * * *", "*/5 * * * *"),
        ("*/10 * * * * *", None),
        ("0,30 * * * * *", None),
        ("* * * * * *", None),
    ],
)
def test_a_schedule_is_told_as_sentry_reads_it(schedule: str, crontab: str | None) -> None:
    """Five fields and aliases stay, a fixed second goes; for ticks within the minute, nothing."""
    assert crontab_of(schedule) == crontab


def test_names_are_allowed_and_stay_apart() -> None:
    """Letters, digits, dashes and underscores, fifty at most; two ids never become one monitor."""
    ids = ["nightly", "Nightly", "nightly ", "näightly", "x" * 50, "x" * 51, "x" * 128, "日報", "7"]
    slugs = [slug_of(cron_id) for cron_id in ids]
    assert slugs[0] == "nightly"
    assert len(set(slugs)) == len(ids)
    assert all(len(slug) <= 50 and slug.isascii() and not slug.isdecimal() for slug in slugs)
    assert all(set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for slug in slugs)


def test_a_monitor_has_zone_margin_and_time_for_all_attempts() -> None:
    """Every attempt its whole time, the waits in between, and a margin beyond the jitter."""
    task = attrs.evolve(TASK, timeout=100, retries=2, retry_base_seconds=30)
    job = attrs.evolve(JOB, jitter=90)
    monitor = monitors_of(SETTINGS, workload(job, task=task))["morning"]
    assert monitor.slug == "morning"
    assert monitor.config() == {
        "schedule": {"type": "crontab", "value": "0 9 * * mon-fri"},
        "timezone": "Europe/Berlin",
        "checkin_margin": 7,  # 90 s and 5 minutes
        "max_runtime": 7,  # 3 times 100 s, 30 s and 60 s
    }


def test_a_cron_jobs_own_words_win() -> None:
    """Zone, retries and timeout come from the cron job, the task, the settings, in this order."""
    plain = attrs.evolve(JOB, timezone=None)
    own = attrs.evolve(JOB, id="own", retries=0, timeout=60)
    settings = attrs.evolve(SETTINGS, cron_timezone="Asia/Tokyo", task_timeout_seconds=600)
    monitors = monitors_of(settings, workload(plain, own))
    assert monitors["morning"].timezone == "Asia/Tokyo"
    assert monitors["morning"].runtime == 4 * 600 + 1 + 2 + 4
    assert monitors["own"].runtime == 60


def test_sentry_waits_for_nothing_longer_than_it_can() -> None:
    """Twenty-eight days are the most; a shorter time is never none at all."""
    monitor = Monitor(slug="x", crontab="@daily", timezone="UTC", jitter=0, runtime=1e9)
    assert monitor.config()["max_runtime"] == MINUTES_MAX
    assert attrs.evolve(monitor, runtime=0.1).config()["max_runtime"] == 1


def test_what_cannot_be_watched_is_said_once(tmp_path: Path) -> None:
    """A job that ticks within the minute is named; one that is not enabled is expected nowhere."""
    often = attrs.evolve(JOB, id="often", schedule="*/10 * * * * *")
    off = attrs.evolve(JOB, id="off", enabled=False)
    with (
        (tmp_path / "log").open("wb") as file,
        logging_to(file.fileno(), level="info", format=LogFormat.JSON),
    ):
        assert list(monitors_of(SETTINGS, workload(JOB, often, off))) == ["morning"]
    [line] = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert '"cron_ids":["often"]' in line


def test_monitors_are_asked_for(tmp_path: Path) -> None:
    """They are off by default; without a DSN they are off too, and the log says why."""
    assert monitors_of(attrs.evolve(SETTINGS, sentry_cron_monitors=False), workload(JOB)) == {}
    with (
        (tmp_path / "log").open("wb") as file,
        logging_to(file.fileno(), level="info", format=LogFormat.JSON),
    ):
        assert monitors_of(attrs.evolve(SETTINGS, sentry_dsn=None), workload(JOB)) == {}
    assert "SENTRY_DSN is not set" in (tmp_path / "log").read_text(encoding="utf-8")
