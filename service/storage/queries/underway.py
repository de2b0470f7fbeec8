"""A run under way: what its steps returned, and the pauses that it asks for."""

import sqlite3
from datetime import datetime

from service.core.run import Status
from service.messages import ReadSteps, RecordStep, Suspend
from service.storage.queries.answering import answer
from service.storage.queries.attempts import keep_attempt
from service.storage.queries.rows import micros
from service.storage.queries.runs import stands


@answer.register
def _(question: RecordStep, db: sqlite3.Connection, now: datetime) -> bool:
    recorded = db.execute(
        """
        INSERT OR REPLACE INTO steps (run, name, result, recorded_at)
        SELECT seq, ?, ?, ? FROM runs WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.name, question.result, micros(now), question.run_id, question.claim),
    )
    return recorded.rowcount == 1


@answer.register
def _(question: ReadSteps, db: sqlite3.Connection, _now: datetime) -> dict[str, str]:
    rows = db.execute(
        "SELECT name, steps.result FROM steps JOIN runs ON run = seq WHERE id = ?",
        (question.run_id,),
    )
    return dict(rows.fetchall())


@answer.register
def _(question: Suspend, db: sqlite3.Connection, now: datetime) -> bool:
    keep_attempt(db, question.run_id, question.claim, now, ending="suspended")
    done = db.execute(
        """
        UPDATE runs SET status = 'queued', attempt = attempt - 1, due_at = ?
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (micros(question.due_at), question.run_id, question.claim),
    )
    return done.rowcount == 1 or stands(db, question.run_id, question.claim, Status.QUEUED)
