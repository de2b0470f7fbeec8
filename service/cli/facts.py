"""A run as a program gets it, and as a person does in a line."""

from typing import Final

from service.core.run import Run
from service.core.wire import Json, decode, rfc3339
from service.messages import Headway

__all__ = ["counted", "progress_words", "run_json", "shortened"]

_SHORT_MAX: Final = 60


def run_json(run: Run) -> dict[str, Json]:
    """Return a run as programs get it: instants in RFC 3339 and UTC."""
    return {
        "id": run.id,
        "jobId": run.job_id,
        "status": run.status.value,
        "trigger": run.trigger.value,
        "attempt": run.attempt,
        "maxAttempts": run.max_attempts,
        "crashes": run.crashes,
        "payload": decode(run.payload),
        "result": None if run.result is None else decode(run.result),
        "createdAt": rfc3339(run.created_at),
        "dueAt": rfc3339(run.due_at),
        "startedAt": rfc3339(run.started_at),
        "finishedAt": rfc3339(run.finished_at),
        "deliveryId": run.delivery_id,
        "cronId": run.cron_id,
        "tick": rfc3339(run.tick),
    }


def progress_words(headway: Headway) -> str:
    """Return how far a task says that it is."""
    total = "" if headway.total is None else f" of {headway.total:.12g}"
    note = f": {headway.note}" if headway.note else ""
    return f"{headway.done:.12g}{total}{note}"


def counted(number: int, noun: str) -> str:
    """Return so many of something, in words: 1 run, 2 runs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shortened(text: str | None) -> str:
    """Return what of a text fits in a table."""
    if text is None or len(text) <= _SHORT_MAX:
        return text or ""
    return text[: _SHORT_MAX - 1] + "…"
