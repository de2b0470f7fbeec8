"""What an operator looks up and changes: runs by the beginning of their ids, and their end."""

import sqlite3
from datetime import datetime

from service.core.results import Result
from service.core.run import Status, Trigger
from service.core.wire import encode
from service.messages import Cancelled, CancelRun, FindRuns, ReadStatus
from service.storage.queries.answering import answer
from service.storage.queries.rows import micros

_LAST = "\U0010ffff"
"""Sorts behind whatever an id goes on with."""


@answer.register
def _(question: FindRuns, db: sqlite3.Connection, _now: datetime) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT id FROM runs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT ?3",
        (question.prefix, question.prefix + _LAST, question.limit),
    )
    return tuple(row[0] for row in rows.fetchall())


@answer.register
def _(question: ReadStatus, db: sqlite3.Connection, _now: datetime) -> Status | None:
    row = db.execute("SELECT status FROM runs WHERE id = ?", (question.run_id,)).fetchone()
    return None if row is None else Status(row[0])


@answer.register
def _(question: CancelRun, db: sqlite3.Connection, now: datetime) -> Cancelled | None:
    row = db.execute(
        'SELECT job_id, "trigger", status FROM runs WHERE id = ?', (question.run_id,)
    ).fetchone()
    if row is None:
        return None
    verdict = Result("error", "cancelled by the operator")
    db.execute(
        """
        UPDATE runs SET status = 'cancelled', result = ?, finished_at = ?
        WHERE id = ? AND status IN ('queued', 'running')
        """,
        (encode(verdict.to_json()), micros(now), question.run_id),
    )
    return Cancelled(job_id=row[0], trigger=Trigger(row[1]), was=Status(row[2]))
