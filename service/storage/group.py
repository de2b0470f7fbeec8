"""The questions of a group, answered in the transaction that they share."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import outcome

from service.messages import Enqueue, Finish, Question
from service.storage.database import Database
from service.storage.queries import answer
from service.storage.queries.enqueuing import enqueue
from service.storage.queries.runs import finish

__all__ = ["answer_all"]


def answer_all(
    database: Database, questions: Sequence[Question[object]], now: datetime
) -> Sequence[outcome.Outcome[object]]:
    """Answer questions within a transaction just begun; one that fails loses nothing but its own.

    They are answered together, and each by itself only if that fails. Raises when an error lost
    the transaction.
    """
    together = database.all_or_nothing(
        partial(_answer_together, database.connection, questions, now)
    )
    if isinstance(together, outcome.Value):
        return [outcome.Value(verdict) for verdict in together.value]
    del together  # an error holds the frames that it passed, which must not hold it
    return [
        database.within_savepoint(partial(answer, question, database.connection, now))
        for question in questions
    ]


def _answer_together(
    db: sqlite3.Connection, questions: Sequence[Question[object]], now: datetime
) -> list[object]:
    accepted = iter(enqueue(db, [each for each in questions if isinstance(each, Enqueue)], now))
    finished = iter(finish(db, [each for each in questions if isinstance(each, Finish)], now))
    verdicts: list[object] = []
    for question in questions:
        match question:
            case Enqueue():
                verdicts.append(next(accepted))
            case Finish():
                verdicts.append(next(finished))
            case _:
                verdicts.append(answer(question, db, now))
    return verdicts
