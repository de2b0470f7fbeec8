"""Forgetting: finished runs, old ticks and old deliveries, a few rows at a time."""

import sqlite3
from datetime import datetime
from itertools import takewhile

from service.messages import Prune, Pruned
from service.storage.queries.answering import answer
from service.storage.queries.rows import micros

VACUUM_PAGES = 256
"""Free pages given back to the file system with each batch, at most."""


@answer.register
def _(question: Prune, db: sqlite3.Connection, _now: datetime) -> Pruned:
    cutoff = micros(question.finished_before)
    batch = db.execute(
        "SELECT seq, created_at, finished_at FROM runs WHERE seq > ? ORDER BY seq LIMIT ?",
        (question.after, question.limit),
    ).fetchall()
    aged = list(takewhile(lambda row: row[1] < cutoff, batch))
    old = [
        (seq,) for seq, _, finished_at in aged if finished_at is not None and finished_at < cutoff
    ]
    others, pages = (0, 0) if question.dry else _forget(db, question, old)
    return Pruned(
        runs=len(old),
        others=others,
        pages=pages,
        last=aged[-1][0] if len(aged) == question.limit else None,
    )


def _forget(db: sqlite3.Connection, question: Prune, old: list[tuple[int]]) -> tuple[int, int]:
    """Forget these runs, and old ticks and deliveries; return how many of those, and of pages."""
    db.executemany("DELETE FROM runs WHERE seq = ?", old)
    db.executemany("DELETE FROM payloads WHERE seq = ?", old)
    deliveries = _forget_deliveries(db, question)
    ticks = _forget_ticks(db, micros(question.ticks_before), question.limit)
    return deliveries + ticks, _give_pages_back(db)


def _give_pages_back(db: sqlite3.Connection) -> int:
    """Shrink the file by some of its free pages; return by how many."""
    free = _free_pages(db)
    for _ in range(min(free, VACUUM_PAGES)):
        db.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 takes one step, which is one page
    return free - _free_pages(db)


def _free_pages(db: sqlite3.Connection) -> int:
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(free)


def _forget_deliveries(db: sqlite3.Connection, question: Prune) -> int:
    return db.execute(
        """
        DELETE FROM deliveries WHERE key IN (
            SELECT key FROM deliveries WHERE seen_at < ? ORDER BY seen_at LIMIT ?
        )
        """,
        (micros(question.seen_before), question.limit),
    ).rowcount


def _forget_ticks(db: sqlite3.Connection, cutoff: int, limit: int) -> int:
    return db.execute(
        """
        DELETE FROM ticks WHERE (cron_id, first) IN (
            SELECT cron_id, first FROM ticks WHERE last < ? ORDER BY last LIMIT ?
        )
        """,
        (cutoff, limit),
    ).rowcount
