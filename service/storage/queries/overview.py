"""What goes on: who works on what, what waits, what is new, and how runs ended lately."""

import json
import sqlite3
from datetime import datetime
from itertools import takewhile

from service.core.run import Status
from service.messages import (
    JobQueue,
    News,
    Outcome,
    Outcomes,
    Overview,
    ReadNews,
    ReadOutcomes,
    ReadOverview,
    RunningRun,
)
from service.storage.queries.answering import answer
from service.storage.queries.rows import RUN_COLUMNS, instant, micros, run_of
from service.storage.queries.waiting import heads

QUEUED_MAX = 100_000
"""Where the count of a job's backlog ends: counting it takes the store's time."""

RUNNING_MAX = 1_000


@answer.register
def _(_question: ReadOverview, db: sqlite3.Connection, now: datetime) -> Overview:
    running = db.execute(
        """
        SELECT id, job_id, attempt, max_attempts, started_at FROM runs
        WHERE status <> 'ok' AND status = 'running'
        ORDER BY seq LIMIT ?
        """,
        (RUNNING_MAX,),
    )
    return Overview(
        at=now,
        last=_last(db),
        running=tuple(
            RunningRun(
                id=row[0],
                job_id=row[1],
                attempt=row[2],
                max_attempts=row[3],
                started_at=instant(row[4]),
            )
            for row in running.fetchall()
        ),
        queues=tuple(_queue(db, job_id, due_at) for job_id, due_at in heads(db)),
    )


def _queue(db: sqlite3.Connection, job_id: str, oldest_due: int) -> JobQueue:
    (count,) = db.execute(
        """
        SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = 'queued' AND job_id = ? LIMIT ?)
        """,
        (job_id, QUEUED_MAX),
    ).fetchone()
    return JobQueue(job_id=job_id, queued=count, oldest_due=instant(oldest_due))


@answer.register
def _(question: ReadOutcomes, db: sqlite3.Connection, _now: datetime) -> Outcomes:
    rows = db.execute(
        """
        SELECT seq, created_at, job_id, status, started_at, finished_at FROM runs
        WHERE seq < ? ORDER BY seq DESC LIMIT ?
        """,
        (_last(db) + 1 if question.before is None else question.before, question.limit),
    ).fetchall()
    since = micros(question.since)
    young = list(takewhile(lambda row: row[1] >= since, rows))
    return Outcomes(
        tuple(Outcome(row[2], Status(row[3]), _seconds(row[4], row[5])) for row in young),
        before=young[-1][0] if len(young) == question.limit else None,
    )


def _seconds(started_at: int | None, finished_at: int | None) -> float | None:
    if started_at is None or finished_at is None:
        return None
    return max(finished_at - started_at, 0) / 1_000_000


@answer.register
def _(question: ReadNews, db: sqlite3.Connection, _now: datetime) -> News:
    last = _last(db)
    after = last if question.after is None else question.after
    rows = db.execute(
        f"""
        SELECT {RUN_COLUMNS}, seq FROM runs JOIN payloads USING (seq)
        WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?
        """,  # noqa: S608 - ours
        (after, last, question.limit),
    ).fetchall()
    watched = db.execute(
        f"""
        SELECT {RUN_COLUMNS} FROM runs JOIN payloads USING (seq)
        WHERE id IN (SELECT value FROM json_each(?)) ORDER BY seq
        """,  # noqa: S608 - ours
        (json.dumps(question.watched),),
    ).fetchall()
    return News(
        last=rows[-1][-1] if len(rows) == question.limit else last,
        runs=tuple(run_of(row[:18]) for row in (*watched, *rows)),
    )


def _last(db: sqlite3.Connection) -> int:
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM runs").fetchone()
    return int(last)
