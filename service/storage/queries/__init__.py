"""One function for each question: the SQL that answers it."""

from service.storage.queries import (
    cron,
    history,
    measuring,
    operator,
    reading,
    retention,
    runs,
)
from service.storage.queries.answering import answer
from service.storage.queries.runs import claim, next_due

__all__ = [
    "answer",
    "claim",
    "cron",
    "history",
    "measuring",
    "next_due",
    "operator",
    "reading",
    "retention",
    "runs",
]
