"""One function for each question: the SQL that answers it."""

from service.storage.queries import (
    attempts,
    claiming,
    cron,
    history,
    measuring,
    operator,
    overview,
    reading,
    retention,
    runs,
    underway,
)
from service.storage.queries.answering import answer
from service.storage.queries.claiming import claim, next_due

__all__ = [
    "answer",
    "attempts",
    "claim",
    "claiming",
    "cron",
    "history",
    "measuring",
    "next_due",
    "operator",
    "overview",
    "reading",
    "retention",
    "runs",
    "underway",
]
