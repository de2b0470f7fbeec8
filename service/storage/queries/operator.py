"""What an operator looks up and changes: runs by the beginning of their ids, and their end."""

import sqlite3
from datetime import datetime

from service.core.results import Result
from service.core.run import Status, Trigger
from service.core.wire import encode
from service.messages import Cancelled, CancelRun, FindRuns, ReadStanding, Standing
from service.storage.queries.answering import answer
from service.storage.queries.pausing import EVERY_JOB, paused_jobs
from service.storage.queries.rows import instant, micros

_LAST = "\U0010ffff"
"""Sorts behind whatever an id goes on with."""


@answer.register
def _(question: FindRuns, db: sqlite3.Connection, _now: datetime) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
        (question.prefix, question.prefix + _LAST, question.limit),
    )
    return tuple(row[0] for row in rows.fetchall())


@answer.register
def _(question: ReadStanding, db: sqlite3.Connection, _now: datetime) -> Standing | None:
    row = db.execute(
        "SELECT job_id, status, attempt, max_attempts, due_at FROM runs WHERE id = ?",
        (question.run_id,),
    ).fetchone()
    if row is None:
        return None
    paused = paused_jobs(db)
    return Standing(
        job_id=row[0],
        status=Status(row[1]),
        attempt=row[2],
        max_attempts=row[3],
        due_at=instant(row[4]),
        job_paused=row[0] in paused,
        all_paused=EVERY_JOB in paused,
    )


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
