"""Reading runs: one, or a list of the newest."""

import sqlite3
from datetime import datetime

from service.core.run import Run
from service.messages import GetRun, ListRuns
from service.storage.queries.answering import answer
from service.storage.queries.rows import RUN_COLUMNS, micros, run_of


@answer.register
def _(question: ListRuns, db: sqlite3.Connection, _now: datetime) -> tuple[Run, ...]:
    wanted = question.filter
    since = None if wanted.since is None else micros(wanted.since)
    conditions = {
        "job_id = ?": wanted.job_id,
        "status = ?": wanted.status,
        '"trigger" = ?': wanted.trigger,
        "created_at >= ?": since,
    }
    chosen = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(chosen) or "true"
    rows = db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs JOIN payloads USING (seq) WHERE {where} "  # noqa: S608 - ours
        "ORDER BY seq DESC LIMIT ?",
        (*chosen.values(), wanted.limit),
    )
    return tuple(run_of(row) for row in rows.fetchall())


@answer.register
def _(question: GetRun, db: sqlite3.Connection, _now: datetime) -> Run | None:
    row = db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs JOIN payloads USING (seq) WHERE id = ?",  # noqa: S608 - ours
        (question.run_id,),
    ).fetchone()
    return None if row is None else run_of(row)


def run_at(db: sqlite3.Connection, seq: int) -> Run:
    """Return the run in a row that is known to exist."""
    row = db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs JOIN payloads USING (seq) WHERE seq = ?",  # noqa: S608 - ours
        (seq,),
    ).fetchone()
    return run_of(row)
