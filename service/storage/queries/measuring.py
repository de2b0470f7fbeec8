"""How much waits, and how large the files are."""

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Final

from service.messages import Measure, Measured
from service.storage.queries.answering import answer
from service.storage.queries.rows import instant
from service.storage.queries.waiting import open_heads

QUEUED_MAX: Final = 100_000
"""Where the count of a backlog ends: counting it takes the store's time."""


@answer.register
def _(_question: Measure, db: sqlite3.Connection, _now: datetime) -> Measured:
    (queued,) = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = 'queued' LIMIT ?)", (QUEUED_MAX,)
    ).fetchone()
    oldest = min((due_at for _, due_at, _ in open_heads(db)), default=None)
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = db.execute("PRAGMA page_size").fetchone()
    return Measured(
        queued=queued,
        oldest_due=None if oldest is None else instant(oldest),
        database_bytes=pages * page_bytes,
        wal_bytes=_wal_bytes(db),
    )


def _wal_bytes(db: sqlite3.Connection) -> int:
    files = {row[1]: row[2] for row in db.execute("PRAGMA database_list").fetchall()}
    log = Path(f"{files['main']}-wal")
    return log.stat().st_size if log.is_file() else 0
