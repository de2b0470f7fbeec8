"""The questions of a group, answered in the transaction that they share."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import outcome

from service.messages import Enqueue, Question
from service.storage.database import Database
from service.storage.queries import answer
from service.storage.queries.enqueuing import enqueue

__all__ = ["answer_all"]


def answer_all(
    database: Database, questions: Sequence[Question[object]], now: datetime
) -> Sequence[outcome.Outcome[object]]:
    """Answer questions within the open transaction; one that fails loses nothing but its own.

    They are answered together, and each by itself only if that fails. Raises when an error lost
    the transaction.
    """
    together = database.within_savepoint(
        partial(_answer_together, database.connection, questions, now)
    )
    if isinstance(together, outcome.Value):
        return [outcome.Value(verdict) for verdict in together.value]
    return [
        database.within_savepoint(partial(answer, question, database.connection, now))
        for question in questions
    ]


def _answer_together(
    db: sqlite3.Connection, questions: Sequence[Question[object]], now: datetime
) -> list[object]:
    asked = [question for question in questions if isinstance(question, Enqueue)]
    accepted = iter(enqueue(db, asked, now))
    return [
        next(accepted) if isinstance(question, Enqueue) else answer(question, db, now)
        for question in questions
    ]
