"""A run, its states, and what follows an attempt.

Theory of operation
-------------------
A run is one accepted piece of work; an attempt is one try at it. The table below is all that can
happen to a run. Storage repeats the left column as ``WHERE status = ...``, so a question that
comes too late changes nothing.

Three counts tell a run's story. `attempt` counts tries that the task itself must answer for: a
stop, a crash and a pause that the task asks for give it back, because they are no failures of the
task. `crashes` counts how often the process died while the run was running; three end it, or a
poisonous run would kill the service for ever. `claim` counts how often a runner took the run and is
never given back, so that only the runner that holds the run may finish it, even when attempt 1
happens twice.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from service.core.results import Result

__all__ = [
    "CRASHES_MAX",
    "TRANSITIONS",
    "Again",
    "Done",
    "Event",
    "Failure",
    "Run",
    "Status",
    "Suspended",
    "Trigger",
    "after_attempt",
]

CRASHES_MAX: Final = 3


class Status(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """Who asked for a run."""

    WEBHOOK = "webhook"
    CRON = "cron"
    MANUAL = "manual"


class Event(StrEnum):
    """What can happen to a run."""

    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    INTERRUPTED = "interrupted"
    SUSPENDED = "suspended"
    CRASHED = "crashed"
    POISONED = "poisoned"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (Status.QUEUED, Event.CLAIMED): Status.RUNNING,
    (Status.QUEUED, Event.CANCELLED): Status.CANCELLED,
    (Status.RUNNING, Event.SUCCEEDED): Status.OK,
    (Status.RUNNING, Event.FAILED): Status.ERROR,
    (Status.RUNNING, Event.RETRIED): Status.QUEUED,
    (Status.RUNNING, Event.INTERRUPTED): Status.QUEUED,
    (Status.RUNNING, Event.SUSPENDED): Status.QUEUED,
    (Status.RUNNING, Event.CRASHED): Status.QUEUED,
    (Status.RUNNING, Event.POISONED): Status.ERROR,
    (Status.RUNNING, Event.CANCELLED): Status.CANCELLED,
}


@attrs.frozen(kw_only=True)
class Run:
    """A run as the store holds it; instants are aware and in UTC, payload and result are JSON."""

    id: str
    job_id: str
    status: Status
    trigger: Trigger
    attempt: int
    max_attempts: int
    crashes: int
    claim: int
    payload: str
    result: str | None
    created_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    delivery_id: str | None
    cron_id: str | None
    tick: datetime | None
    trace_context: str | None


@attrs.frozen
class Failure:
    """An attempt that failed by exception or timeout; `retry_after` is in seconds."""

    message: str
    permanent: bool = False
    retry_after: float | None = None
    exception: BaseException | None = attrs.field(default=None, eq=False, repr=False)
    """What was raised, for logs and error tracking."""
    timed_out: bool = attrs.field(default=False, eq=False)


@attrs.frozen
class Suspended:
    """An attempt that gave its runner back until `due_at`: it goes on then, and has not failed."""

    due_at: datetime


@attrs.frozen
class Done:
    """The run ends here."""

    status: Status
    result: Result


@attrs.frozen
class Again:
    """The run goes back to the queue for `delay` seconds."""

    delay: float
    result: Result


def after_attempt(
    outcome: Result | Failure, *, attempt: int, max_attempts: int, backoff: float
) -> Done | Again:
    """Decide what follows an attempt.

    A result is a verdict and ends the run. A failure is retried while attempts are left, after
    `backoff` seconds or after what the failure asks for.
    """
    if isinstance(outcome, Result):
        return Done(Status.OK if outcome.status == "ok" else Status.ERROR, outcome)
    result = Result("error", outcome.message)
    if outcome.permanent or attempt >= max_attempts:
        return Done(Status.ERROR, result)
    return Again(backoff if outcome.retry_after is None else outcome.retry_after, result)
