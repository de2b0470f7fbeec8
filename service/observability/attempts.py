"""What is told of every attempt: a span, metrics, a line of the log, and Sentry at the very end."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import attrs

from service.core.results import Result
from service.core.run import Failure, Run
from service.observability import metrics
from service.observability.exceptions import kind_of, name_of
from service.observability.logs import get_logger
from service.observability.sentry import capture_failure, check_in, check_out
from service.observability.traces import Span

__all__ = ["Ended", "Ending", "tell", "tell_beginning", "tell_poisoned"]

log = get_logger("service.runner")


class Ending(StrEnum):
    """What an attempt came to."""

    OK = "ok"
    ERROR = "error"
    RETRY = "retry"
    INTERRUPTED = "interrupted"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    """The run was no longer its runner's."""
    LOST = "lost"
    """The store has gone before it heard of the end: the run will run again."""


_FOR_GOOD: Final = frozenset({Ending.OK, Ending.ERROR, Ending.CANCELLED})


@attrs.frozen(kw_only=True)
class Ended:
    """An attempt and its end; `due_at` is when the next one may begin."""

    run: Run
    ending: Ending
    outcome: Result | Failure | None
    seconds: float
    due_at: datetime | None = None


def tell_beginning(run: Run, now: datetime) -> None:
    """Tell that an attempt begins `now`; within its span and its Sentry scope."""
    waited = (now - run.due_at) / timedelta(seconds=1)
    metrics.run_started(run.job_id, max(waited, 0.0))
    if run.claim == 1:
        check_in(run)


def tell(ended: Ended, span: Span) -> None:
    """Tell how an attempt ended, to everyone whom it concerns; it hurts nobody if that fails."""
    try:
        _tell(ended, span)
    except BaseException as fault:  # noqa: ASYNC103, BLE001 - showing what a task raised may raise
        log.error(  # noqa: ASYNC104, TRY400 - as above; and so may its context
            "the end of an attempt could not be told",
            job_id=ended.run.job_id,
            run_id=ended.run.id,
            fault=name_of(fault),
        )


def _tell(ended: Ended, span: Span) -> None:
    _mark(span, ended)
    _count(ended)
    _log(ended)
    if ended.ending is Ending.ERROR and ended.outcome is not None:
        capture_failure(ended.run, ended.outcome)
    if ended.ending in _FOR_GOOD:
        check_out(ended.run, well=ended.ending is Ending.OK)


def tell_poisoned(run: Run) -> None:
    """Tell of a run that ended because the service died too often while it was running."""
    log.error(
        "run ended: the service died too often while it was running",
        job_id=run.job_id,
        run_id=run.id,
        crashes=run.crashes,
        status=str(run.status),
    )
    capture_failure(run, Failure("the service died too often while the run was running"))
    check_out(run, well=False)
    metrics.run_ended(run.job_id, run.trigger, run.status)


def _mark(span: Span, ended: Ended) -> None:
    span.outcome(ended.ending)
    outcome = ended.outcome
    if isinstance(outcome, Failure):
        ours = outcome.message if outcome.exception is None else None
        span.failed(kind_of(outcome), ours)  # the words of an exception may hold secrets
    elif outcome is not None and outcome.status == "error":
        span.failed(kind_of(outcome))


def _count(ended: Ended) -> None:
    run, ending = ended.run, ended.ending
    metrics.attempt_ended(run.job_id, ending, ended.seconds)
    if ending is Ending.RETRY:
        metrics.run_retried(run.job_id)
    elif ending in {Ending.OK, Ending.ERROR}:
        metrics.run_ended(run.job_id, run.trigger, ending)


def _log(ended: Ended) -> None:
    facts = _facts(ended)
    match ended.ending:
        case Ending.OK:
            log.info("run succeeded", status="ok", **facts)
        case Ending.ERROR:
            log.error("run failed", status="error", **facts)
        case Ending.RETRY:
            due_at = ended.due_at
            log.warning("attempt failed, to be retried", status="queued", due_at=due_at, **facts)
        case Ending.INTERRUPTED:
            log.info("run interrupted, queued again", status="queued", **facts)
        case Ending.SUSPENDED:
            log.info("run suspended", status="queued", due_at=ended.due_at, **facts)
        case Ending.CANCELLED:
            log.warning("run was taken from its runner", status="cancelled", **facts)
        case Ending.LOST:
            log.error(
                "the store could not be told how a run ended; it will run again",
                status="running",
                **facts,
            )


def _facts(ended: Ended) -> dict[str, object]:
    run = ended.run
    facts: dict[str, object] = {
        "job_id": run.job_id,
        "run_id": run.id,
        "trigger": str(run.trigger),
        "attempt": run.attempt,
        "duration_ms": round(ended.seconds * 1000, 3),
    }
    if run.tick is not None and run.started_at is not None:
        late = (run.started_at - run.tick) / timedelta(milliseconds=1)
        facts |= {"cron_id": run.cron_id, "tick": run.tick, "late_ms": round(late, 3)}
    match ended.outcome:
        case Failure(message=message, exception=error):
            facts |= {"error": message, "exc_info": error}
        case Result(status="error", message=message):
            facts |= {"error": message}
    return facts
