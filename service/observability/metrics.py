"""Metrics: one function a fact, counted in the process and sent now and then.

Names and units follow OpenTelemetry's conventions: dots, UCUM units, no unit in the name. Labels
are few and bounded: ids of registered jobs, outcomes, statuses, and never what a caller may invent.
Without `metering` every function does nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from service.observability.instruments import Labels, Meter

__all__ = [
    "attempt_ended",
    "cron_run_late",
    "delivery_repeated",
    "group_committed",
    "group_lost",
    "is_metered",
    "loop_lagged",
    "metering",
    "request_answered",
    "run_crashed",
    "run_ended",
    "run_retried",
    "run_started",
    "store_measured",
    "ticks_accounted",
]

QUICK_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
LONG_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
KEPT_LABELS: Final = 2000
"""Sets of labels that are not made anew for each fact: as many as an instrument tells apart."""

GROUP_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class _Instruments:
    def __init__(self, meter: Meter) -> None:
        self.runs = meter.create_counter(
            "job.runs", "{run}", "Runs that reached their end, by job, trigger and outcome"
        )
        self.attempts = meter.create_histogram(
            "job.attempt.duration",
            "s",
            "Time an attempt took, by job and outcome",
            explicit_bucket_boundaries_advisory=LONG_SECONDS,
        )
        self.waits = meter.create_histogram(
            "job.run.wait",
            "s",
            "Time from when a run was due until an attempt began, by job",
            explicit_bucket_boundaries_advisory=LONG_SECONDS,
        )
        self.retries = meter.create_counter(
            "job.retries", "{retry}", "Attempts that failed and will be followed by another, by job"
        )
        self.crashes = meter.create_counter(
            "job.crashes", "{crash}", "Runs that were running when the service died"
        )
        self.queue_depth = meter.create_gauge("job.queue.depth", "{run}", "Runs that wait")
        self.queue_age = meter.create_gauge(
            "job.queue.age", "s", "How long the longest waiting run has been due"
        )
        self.requests = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Time from a request's head to its answer",
            explicit_bucket_boundaries_advisory=QUICK_SECONDS,
        )
        self.repeated = meter.create_counter(
            "webhook.deliveries.repeated",
            "{delivery}",
            "Deliveries that had come before and started nothing",
        )
        self.ticks = meter.create_counter(
            "cron.ticks", "{tick}", "Ticks accounted for, by cron job and outcome"
        )
        self.lateness = meter.create_histogram(
            "cron.lateness",
            "s",
            "Time from a tick until its run was enqueued, by cron job",
            explicit_bucket_boundaries_advisory=LONG_SECONDS,
        )
        self.group_size = meter.create_histogram(
            "store.group.size",
            "{question}",
            "Questions that shared a transaction",
            explicit_bucket_boundaries_advisory=GROUP_SIZES,
        )
        self.group_duration = meter.create_histogram(
            "store.group.duration",
            "s",
            "Time until a group was on disk",
            explicit_bucket_boundaries_advisory=QUICK_SECONDS,
        )
        self.groups_lost = meter.create_counter(
            "store.groups.lost", "{group}", "Transactions that could not be committed"
        )
        self.groups_lost.add(0)  # whoever looks for a first loss needs the time before it
        self.loop_lag = meter.create_histogram(
            "loop.lag",
            "s",
            "How much later than asked the event loop woke a sleeper",
            explicit_bucket_boundaries_advisory=QUICK_SECONDS,
        )
        self.database_size = meter.create_gauge("store.database.size", "By", "Size of the database")
        self.wal_size = meter.create_gauge(
            "store.wal.size", "By", "Size of the database's write-ahead log"
        )


class _Out:
    """Where facts are counted now."""

    instruments: _Instruments | None = None


_out: Final = _Out()


@contextmanager
def metering(meter: Meter) -> Iterator[None]:
    """Count with `meter` within."""
    before, _out.instruments = _out.instruments, _Instruments(meter)
    try:
        yield
    finally:
        _out.instruments = before


def is_metered() -> bool:
    """Return whether facts are counted, so that nobody gathers them in vain."""
    return _out.instruments is not None


def run_started(job_id: str, waited_seconds: float) -> None:
    """Count that an attempt began, so long after its run was due."""
    if (to := _out.instruments) is not None:
        to.waits.record(waited_seconds, _of_job(job_id))


def attempt_ended(job_id: str, outcome: str, seconds: float) -> None:
    """Count an attempt: ok, error, retry, interrupted, ..."""
    if (to := _out.instruments) is not None:
        to.attempts.record(seconds, _of_attempt(job_id, outcome))


def run_ended(job_id: str, trigger: str, outcome: str) -> None:
    """Count a run that reached its end: ok, error or cancelled."""
    if (to := _out.instruments) is not None:
        to.runs.add(1, _of_run(job_id, trigger, outcome))


def run_retried(job_id: str) -> None:
    """Count a failed attempt that another will follow."""
    if (to := _out.instruments) is not None:
        to.retries.add(1, _of_job(job_id))


def run_crashed(count: int) -> None:
    """Count runs that were running when the service died."""
    if (to := _out.instruments) is not None:
        to.crashes.add(count)


def request_answered(method: str, route: str | None, status: int, seconds: float) -> None:
    """Count a request; `method` is one that HTTP knows, `route` one of ours."""
    if (to := _out.instruments) is not None:
        to.requests.record(seconds, _of_request(method, route, status))


def delivery_repeated() -> None:
    """Count a delivery that had come before."""
    if (to := _out.instruments) is not None:
        to.repeated.add(1)


def ticks_accounted(cron_id: str, outcome: str, count: int = 1) -> None:
    """Count ticks: ran, skipped, missed or coalesced."""
    if (to := _out.instruments) is not None:
        to.ticks.add(count, _of_ticks(cron_id, outcome))


def cron_run_late(cron_id: str, seconds: float) -> None:
    """Count how long after its tick a run was enqueued."""
    if (to := _out.instruments) is not None:
        to.lateness.record(seconds, _of_cron_job(cron_id))


def group_committed(size: int, seconds: float) -> None:
    """Count a transaction of the store."""
    if (to := _out.instruments) is not None:
        to.group_size.record(size)
        to.group_duration.record(seconds)


def group_lost() -> None:
    """Count a transaction that the store could not commit."""
    if (to := _out.instruments) is not None:
        to.groups_lost.add(1)


def loop_lagged(seconds: float) -> None:
    """Count how late the event loop was."""
    if (to := _out.instruments) is not None:
        to.loop_lag.record(seconds)


def store_measured(
    *, queued: int, oldest_seconds: float, database_bytes: int, wal_bytes: int
) -> None:
    """Keep how much waits, for how long, and how large the files are."""
    if (to := _out.instruments) is not None:
        to.queue_depth.set(queued)
        to.queue_age.set(oldest_seconds)
        to.database_size.set(database_bytes)
        to.wal_size.set(wal_bytes)


@lru_cache(KEPT_LABELS)
def _of_request(method: str, route: str | None, status: int) -> Labels:
    labels: dict[str, str | int] = {
        "http.request.method": method,
        "http.response.status_code": status,
        "url.scheme": "http",
    }
    if route is not None:
        labels["http.route"] = route
    if status >= 500:  # noqa: PLR2004 - for a server, only these are errors
        labels["error.type"] = str(status)
    return Labels(labels)


@lru_cache(KEPT_LABELS)
def _of_job(job_id: str) -> Labels:
    return Labels({"job.id": job_id})


@lru_cache(KEPT_LABELS)
def _of_attempt(job_id: str, outcome: str) -> Labels:
    return Labels({"job.id": job_id, "outcome": outcome})


@lru_cache(KEPT_LABELS)
def _of_run(job_id: str, trigger: str, outcome: str) -> Labels:
    return Labels({"job.id": job_id, "run.trigger": trigger, "outcome": outcome})


@lru_cache(KEPT_LABELS)
def _of_cron_job(cron_id: str) -> Labels:
    return Labels({"cron.id": cron_id})


@lru_cache(KEPT_LABELS)
def _of_ticks(cron_id: str, outcome: str) -> Labels:
    return Labels({"cron.id": cron_id, "outcome": outcome})
