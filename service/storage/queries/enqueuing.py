"""Runs that are accepted: once for each delivery, and many in few steps.

Theory of operation
-------------------
Webhooks come in crowds, and the thread of the store takes Python's lock anew after each step of
SQLite, in a queue with the event loop. So what a group enqueues is written by one statement a
table, however many runs it is. A copy of a delivery in the same group meets the first as it would
in the table.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from service.messages import Accepted, Enqueue
from service.storage.queries.answering import answer
from service.storage.queries.rows import insert_rows, micros


@answer.register
def _(question: Enqueue, db: sqlite3.Connection, now: datetime) -> Accepted:
    [accepted] = enqueue(db, [question], now)
    return accepted


def enqueue(db: sqlite3.Connection, questions: Sequence[Enqueue], now: datetime) -> list[Accepted]:
    """Put runs in the queue; of a delivery that was seen before, tell the run that it started."""
    seen = _seen(db, questions, now)
    verdicts: list[Accepted] = []
    fresh: list[Enqueue] = []
    for question in questions:
        key = None if question.delivery is None else question.delivery.key
        if key is not None and key in seen:
            verdicts.append(seen[key])
            continue
        fresh.append(question)
        verdicts.append(Accepted(run_id=question.run_id, job_id=question.job_id, replayed=False))
        if key is not None:
            seen[key] = Accepted(run_id=question.run_id, job_id=question.job_id, replayed=True)
    _insert(db, fresh, micros(now))
    return verdicts


def _seen(
    db: sqlite3.Connection, questions: Sequence[Enqueue], now: datetime
) -> dict[str, Accepted]:
    """Return what deliveries have started within their window, by their keys."""
    since = {
        question.delivery.key: micros(now - question.delivery.window)
        for question in questions
        if question.delivery is not None
    }
    if not since:
        return {}
    places = ", ".join("?" * len(since))
    rows = db.execute(
        f"SELECT key, run_id, job_id, seen_at FROM deliveries WHERE key IN ({places})",  # noqa: S608 - ours
        list(since),
    )
    return {
        key: Accepted(run_id=run_id, job_id=job_id, replayed=True)
        for key, run_id, job_id, seen_at in rows.fetchall()
        if seen_at > since[key]
    }


def _insert(db: sqlite3.Connection, questions: Sequence[Enqueue], moment: int) -> None:
    if not questions:
        return
    insert_rows(
        db,
        "INSERT OR REPLACE INTO deliveries (key, run_id, job_id, seen_at) VALUES",
        [
            (question.delivery.key, question.run_id, question.job_id, moment)
            for question in questions
            if question.delivery is not None
        ],
    )
    last = insert_rows(
        db,
        """
        INSERT INTO runs (id, job_id, status, "trigger", max_attempts, created_at, due_at,
                          delivery_id, trace_context) VALUES
        """,
        [
            (
                question.run_id,
                question.job_id,
                "queued",
                question.trigger,
                question.max_attempts,
                moment,
                moment,
                None if question.delivery is None else question.delivery.id,
                question.trace_context,
            )
            for question in questions
        ],
    )
    insert_rows(
        db,
        "INSERT INTO payloads (seq, body) VALUES",
        [
            (seq, question.payload)
            for seq, question in enumerate(questions, last - len(questions) + 1)
        ],
    )
