"""The queue: which runs are next, and when; runs of paused jobs wait.

Theory of operation
-------------------
While nothing is paused, the next run is the head of one index. While something is, the jobs that
have runs waiting are looked at one by one, each at the head of its own stretch of another index.
So the cost grows with the number of jobs, never with what has piled up behind a paused one.
"""

import heapq
import json
import sqlite3
from datetime import datetime

from service.core.run import Run
from service.messages import ListPausedJobs, PauseJobs, ResumeJobs
from service.storage.queries.answering import answer
from service.storage.queries.reading import run_at
from service.storage.queries.rows import instant, micros

_EVERY_JOB = ""


def claim(db: sqlite3.Connection, now: datetime, limit: int) -> list[Run]:
    """Take up to `limit` due runs, those due longest first."""
    paused = _paused(db)
    due = _due_but(db, paused, micros(now), limit) if paused else _due(db, micros(now), limit)
    db.execute(
        """
        UPDATE runs
        SET status = 'running', attempt = attempt + 1, claim = claim + 1, started_at = ?
        WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'queued'
        """,
        (micros(now), json.dumps(due)),
    )
    return [run_at(db, seq) for seq in due]


def next_due(db: sqlite3.Connection) -> datetime | None:
    """Tell when the earliest run is due that may be claimed."""
    paused = _paused(db)
    if paused:
        heads = (_first_due(db, job_id) for job_id in _others(db, paused))
        due = min((moment for moment in heads if moment is not None), default=None)
    else:
        (due,) = db.execute("SELECT min(due_at) FROM runs WHERE status = 'queued'").fetchone()
    return None if due is None else instant(due)


def _due(db: sqlite3.Connection, moment: int, limit: int) -> list[int]:
    rows = db.execute(
        """
        SELECT seq FROM runs WHERE status = 'queued' AND due_at <= ?
        ORDER BY due_at, seq LIMIT ?
        """,
        (moment, limit),
    )
    return [row[0] for row in rows.fetchall()]


def _due_but(db: sqlite3.Connection, paused: set[str], moment: int, limit: int) -> list[int]:
    stretches = [
        db.execute(
            """
            SELECT due_at, seq FROM runs WHERE status = 'queued' AND job_id = ? AND due_at <= ?
            ORDER BY due_at, seq LIMIT ?
            """,
            (job_id, moment, limit),
        ).fetchall()
        for job_id in _others(db, paused)
    ]
    return [seq for _, seq in list(heapq.merge(*stretches))[:limit]]


def waiting_jobs(db: sqlite3.Connection) -> list[str]:
    """Name the jobs that have runs in the queue; each costs one look."""
    rows = db.execute(
        """
        WITH RECURSIVE jobs (id) AS (
            SELECT min(job_id) FROM runs WHERE status = 'queued'
            UNION ALL
            SELECT (SELECT min(job_id) FROM runs WHERE status = 'queued' AND job_id > jobs.id)
            FROM jobs WHERE jobs.id IS NOT NULL
        )
        SELECT id FROM jobs WHERE id IS NOT NULL
        """
    )
    return [row[0] for row in rows.fetchall()]


def _others(db: sqlite3.Connection, paused: set[str]) -> list[str]:
    """Name the jobs that have runs in the queue and are not paused."""
    if _EVERY_JOB in paused:
        return []
    return [job_id for job_id in waiting_jobs(db) if job_id not in paused]


def _first_due(db: sqlite3.Connection, job_id: str) -> int | None:
    (due,) = db.execute(
        "SELECT min(due_at) FROM runs WHERE status = 'queued' AND job_id = ?", (job_id,)
    ).fetchone()
    return None if due is None else int(due)


def _paused(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT job_id FROM paused_jobs").fetchall()}


@answer.register
def _(question: PauseJobs, db: sqlite3.Connection, now: datetime) -> bool:
    added = db.execute(
        "INSERT OR IGNORE INTO paused_jobs VALUES (?, ?)",
        (question.job_id or _EVERY_JOB, micros(now)),
    )
    return added.rowcount == 1


@answer.register
def _(question: ResumeJobs, db: sqlite3.Connection, _now: datetime) -> bool:
    if question.job_id is None:
        return db.execute("DELETE FROM paused_jobs").rowcount > 0
    removed = db.execute("DELETE FROM paused_jobs WHERE job_id = ?", (question.job_id,))
    return removed.rowcount == 1


@answer.register
def _(_question: ListPausedJobs, db: sqlite3.Connection, _now: datetime) -> tuple[str | None, ...]:
    return tuple(job_id or None for job_id in sorted(_paused(db)))
