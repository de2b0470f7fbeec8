"""Which cron jobs Sentry is to watch, and what it is to expect of each."""

from collections.abc import Mapping
from typing import Final

from service.core.backoff import delay_seconds
from service.core.cronjob import CronJob
from service.observability.logs import get_logger
from service.observability.monitors import Monitor, crontab_of, slug_of
from service.settings import Settings
from service.tasks.loading import Workload
from service.tasks.task import Task

__all__ = ["monitors_of"]

log: Final = get_logger("service.telemetry")


def monitors_of(settings: Settings, workload: Workload) -> Mapping[str, Monitor]:
    """Return the monitor of each cron job by its id, none unless SENTRY_CRON_MONITORS asks for it.

    Says once which jobs Sentry cannot watch.
    """
    if not settings.sentry_cron_monitors:
        return {}
    if settings.sentry_dsn is None:
        log.warning("cron jobs are not watched by Sentry: SENTRY_DSN is not set")
        return {}
    enabled = [job for job in workload.cron_jobs if job.enabled]
    monitors = {
        job.id: monitor
        for job in enabled
        if (monitor := _monitor(job, workload.tasks[job.job_id], settings)) is not None
    }
    if unwatched := [job.id for job in enabled if job.id not in monitors]:
        log.warning(
            "cron jobs that tick more than once a minute are not watched by Sentry",
            cron_ids=unwatched,
        )
    return monitors


def _monitor(job: CronJob, task: Task, settings: Settings) -> Monitor | None:
    crontab = crontab_of(job.schedule)
    if crontab is None:
        return None
    return Monitor(
        slug=slug_of(job.id),
        crontab=crontab,
        timezone=job.compiled(default_timezone=settings.cron_timezone).zone.key,
        jitter=job.jitter,
        runtime=_longest_seconds(job, task, settings),
    )


def _longest_seconds(job: CronJob, task: Task, settings: Settings) -> float:
    """Return how long a run may take: every attempt its whole time, and the waits in between."""
    retries = _first(job.retries, task.retries)
    timeout = _first(job.timeout, task.timeout, settings.task_timeout_seconds)
    base = _first(task.retry_base_seconds, settings.retry_base_seconds)
    maximum = _first(task.retry_max_seconds, settings.retry_max_seconds)
    waits = [
        delay_seconds(attempt, base=base, maximum=maximum, chance=0)
        for attempt in range(1, int(retries) + 1)
    ]
    return timeout * (len(waits) + 1) + sum(waits)


def _first(*given: float | None) -> float:
    """Return the first number that is given; the last one always is."""
    return next(each for each in given if each is not None)
