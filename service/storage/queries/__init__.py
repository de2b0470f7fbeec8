"""One function for each question: the SQL that answers it."""

from service.storage.queries import (
    attempts,
    claiming,
    cron,
    enqueuing,
    history,
    measuring,
    operator,
    overview,
    pausing,
    reading,
    retention,
    runs,
    underway,
)
from service.storage.queries.answering import answer
from service.storage.queries.claiming import Queue

__all__ = [
    "Queue",
    "answer",
    "attempts",
    "claiming",
    "cron",
    "enqueuing",
    "history",
    "measuring",
    "operator",
    "overview",
    "pausing",
    "reading",
    "retention",
    "runs",
    "underway",
]
