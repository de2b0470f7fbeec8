"""Reading runs: one, or a list of the newest.

Theory of operation
-------------------
While a list is read the store does nothing else, so a list is read in pages of bounded work. Where
an index holds just what is wanted, in its order or of few, that is a page of any reach. Elsewhere
a page looks at so many runs, of the job if one is named, and says where to look on.
"""

import sqlite3
from datetime import datetime
from typing import Final

from service.core.run import Run, Status
from service.messages import GetRun, Listed, ListRuns, RunFilter
from service.storage.queries.answering import answer
from service.storage.queries.rows import RUN_COLUMNS, micros, run_of

LOOK_MAX: Final = 20_000
"""Runs that a page looks at where no index holds what is wanted."""

_OF_INDEX: Final = {
    Status.QUEUED: "status <> 'ok' AND status = 'queued'",
    Status.RUNNING: "status <> 'ok'",
    Status.ERROR: "status <> 'ok' AND status IN ('error', 'cancelled')",
    Status.CANCELLED: "status <> 'ok' AND status IN ('error', 'cancelled')",
    Status.OK: "true",
}
"""What an index says of its rows must be said of what is sought, or it is not used."""


@answer.register
def _(question: ListRuns, db: sqlite3.Connection, _now: datetime) -> Listed:
    wanted = question.filter
    before = _end(db) if question.before is None else question.before
    few_wait = wanted.status is Status.QUEUED and _few_wait(db, wanted.job_id)
    after = 0 if few_wait or _an_index_holds(wanted) else _reach(db, wanted.job_id, before)
    indexed = "INDEXED BY runs_waiting" if few_wait else ""  # not by status: others may wait, too
    since = None if wanted.since is None else micros(wanted.since)
    conditions = {
        "job_id = ?": wanted.job_id,
        f"{_OF_INDEX[wanted.status or Status.OK]} AND status = ?": wanted.status,
        '"trigger" = ?': wanted.trigger,
        "created_at >= ?": since,
        "seq > ?": after,
        "seq < ?": before,
    }
    chosen = {text: value for text, value in conditions.items() if value is not None}
    rows = db.execute(
        f"SELECT {RUN_COLUMNS} FROM runs {indexed} JOIN payloads USING (seq) "  # noqa: S608 - ours
        f"WHERE {' AND '.join(chosen)} ORDER BY seq DESC LIMIT ?",
        (*chosen.values(), wanted.limit),
    ).fetchall()
    at_end = after == 0 or len(rows) == wanted.limit or _all_older(db, wanted, after, before)
    return Listed(tuple(run_of(row) for row in rows), before=None if at_end else after + 1)


def _few_wait(db: sqlite3.Connection, job_id: str | None) -> bool:
    """Tell whether a job is named of whose runs no more wait than a page looks at."""
    if job_id is None:
        return False
    more = db.execute(
        "SELECT 1 FROM runs WHERE status = 'queued' AND job_id = ? LIMIT 1 OFFSET ?",
        (job_id, LOOK_MAX),
    )
    return more.fetchone() is None


def _an_index_holds(wanted: RunFilter) -> bool:
    if wanted.status is Status.RUNNING:
        return True  # of all jobs there are no more than runners
    if wanted.trigger is not None or wanted.since is not None:
        return False
    if wanted.job_id is None:
        return wanted.status is not Status.OK
    return wanted.status in {None, Status.ERROR, Status.CANCELLED}


def _reach(db: sqlite3.Connection, job_id: str | None, before: int) -> int:
    """Return after which run a page begins that ends `before` another."""
    if job_id is None:
        return max(before - 1 - LOOK_MAX, 0)
    row = db.execute(
        "SELECT seq FROM runs WHERE job_id = ? AND seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?",
        (job_id, before, LOOK_MAX),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _all_older(db: sqlite3.Connection, wanted: RunFilter, after: int, before: int) -> bool:
    """Tell whether a page has runs and all are too old; then those before it are, too."""
    if wanted.since is None:
        return False
    of_job, job_id = ("true", ()) if wanted.job_id is None else ("job_id = ?", (wanted.job_id,))
    (youngest,) = db.execute(
        f"SELECT max(created_at) FROM runs WHERE {of_job} AND seq > ? AND seq < ?",  # noqa: S608 - ours
        (*job_id, after, before),
    ).fetchone()
    return youngest is not None and youngest < micros(wanted.since)


def _end(db: sqlite3.Connection) -> int:
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM runs").fetchone()
    return int(last) + 1


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
