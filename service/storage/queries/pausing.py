"""Paused jobs: what they have in the queue waits until they are resumed."""

import sqlite3
from datetime import datetime
from typing import Final

from service.messages import ListPausedJobs, PauseJobs, ResumeJobs
from service.storage.queries.answering import answer
from service.storage.queries.rows import micros

EVERY_JOB: Final = ""
"""Stands in the table for all jobs."""


def paused_jobs(db: sqlite3.Connection) -> set[str]:
    """Name the jobs that are paused, `EVERY_JOB` among them if all are."""
    return {row[0] for row in db.execute("SELECT job_id FROM paused_jobs").fetchall()}


@answer.register
def _(question: PauseJobs, db: sqlite3.Connection, now: datetime) -> bool:
    added = db.execute(
        "INSERT OR IGNORE INTO paused_jobs VALUES (?, ?)",
        (question.job_id or EVERY_JOB, micros(now)),
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
    return tuple(job_id or None for job_id in sorted(paused_jobs(db)))
