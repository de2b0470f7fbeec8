"""What waits and what is at work, job by job; instants are microseconds, as in the tables.

A job's line is a stretch of one index, so to look at a head costs one step whatever is behind it.
"""

import sqlite3
from typing import Final

from service.core.limits import Rate
from service.storage.queries.pausing import EVERY_JOB

_SECOND = 1_000_000


_JOBS: Final = """
    WITH RECURSIVE jobs (job_id) AS (
        SELECT min(job_id) FROM runs WHERE status = 'queued'
        UNION ALL
        SELECT (SELECT min(job_id) FROM runs WHERE status = 'queued' AND job_id > jobs.job_id)
        FROM jobs WHERE job_id IS NOT NULL
    )
"""
"""The jobs that have runs in the queue, and a NULL."""

_DUE_AT: Final = "(SELECT min(due_at) FROM runs WHERE status = 'queued' AND job_id = jobs.job_id)"


def heads(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Return each job that has runs in the queue, and when the first of them is due."""
    rows = db.execute(f"{_JOBS} SELECT job_id, {_DUE_AT} FROM jobs WHERE job_id IS NOT NULL")  # noqa: S608 - ours
    return rows.fetchall()


def open_heads(db: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Return the heads of the jobs that are not paused, and how many runs of each are at work."""
    at_work = db.execute("""
        SELECT job_id, count(*) FROM runs WHERE status <> 'ok' AND status = 'running'
        GROUP BY job_id
        """)
    busy = dict(at_work.fetchall())
    rows = db.execute(
        f"""
        {_JOBS}
        SELECT job_id, {_DUE_AT} FROM jobs WHERE job_id IS NOT NULL
        AND job_id NOT IN (SELECT job_id FROM paused_jobs)
        AND NOT EXISTS (SELECT 1 FROM paused_jobs WHERE job_id = ?)
        """,  # noqa: S608 - ours
        (EVERY_JOB,),
    )
    return [(job_id, due_at, busy.get(job_id, 0)) for job_id, due_at in rows.fetchall()]


def ready(db: sqlite3.Connection, job_id: str, moment: int, limit: int) -> list[int]:
    """Return up to `limit` runs of a job that are due, those due longest first."""
    rows = db.execute(
        """
        SELECT seq FROM runs WHERE status = 'queued' AND job_id = ? AND due_at <= ?
        ORDER BY due_at, seq LIMIT ?
        """,
        (job_id, moment, limit),
    )
    return [row[0] for row in rows.fetchall()]


def rated_room(db: sqlite3.Connection, job_id: str, rate: Rate, moment: int) -> tuple[int, int]:
    """Return how many attempts a rate still allows, and since or from when it allows one.

    Starts that lie in the future are those of a clock that was set back: they do not count.
    """
    period = rate.seconds * _SECOND
    (recent,) = db.execute(
        "SELECT count(*) FROM rated_starts WHERE job_id = ? AND started_at > ? AND started_at <= ?",
        (job_id, moment - period, moment),
    ).fetchone()
    if recent < rate.count:
        return rate.count - recent, 0
    (oldest,) = db.execute(
        """
        SELECT started_at FROM rated_starts WHERE job_id = ? AND started_at <= ?
        ORDER BY started_at DESC LIMIT 1 OFFSET ?
        """,
        (job_id, moment, rate.count - 1),
    ).fetchone()
    return 1, oldest + period


def note_start(db: sqlite3.Connection, job_id: str, rate: Rate, moment: int) -> None:
    """Count an attempt that begins, and forget those that count no longer."""
    db.execute(
        "DELETE FROM rated_starts WHERE job_id = ? AND started_at <= ?",
        (job_id, moment - rate.seconds * _SECOND),
    )
    db.execute("INSERT INTO rated_starts VALUES (?, ?)", (job_id, moment))
