"""One function for each question: the SQL that answers it."""

from service.storage.queries import (
    claiming,
    cron,
    history,
    measuring,
    operator,
    reading,
    retention,
    runs,
    underway,
)
from service.storage.queries.answering import answer
from service.storage.queries.claiming import claim, next_due

__all__ = [
    "answer",
    "claim",
    "claiming",
    "cron",
    "history",
    "measuring",
    "next_due",
    "operator",
    "reading",
    "retention",
    "runs",
    "underway",
]
