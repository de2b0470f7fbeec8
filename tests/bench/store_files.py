"""Databases filled to order, and what a database tells after a measure."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from service.storage.database import Database

__all__ = ["fill", "lateness_ms", "percentile", "query"]


def fill(
    path: Path,
    count: int,
    status: Literal["ok", "queued"],
    *,
    age: timedelta,
    job_id: str = "noop",
) -> None:
    """Add `count` runs that were created `age` ago."""
    database = Database.open(path)
    born = int((datetime.now(UTC) - age).timestamp() * 1e6)
    finished = None if status == "queued" else born
    mark = f"{time.time_ns():x}"
    with database.transaction() as db:
        (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM runs").fetchone()
        db.executemany(
            """
            INSERT INTO runs (seq, id, job_id, status, "trigger", attempt, max_attempts, claim,
                              created_at, due_at, started_at, finished_at, result)
            VALUES (?, ?, ?, ?, 'webhook', 0, 4, 0, ?, ?, ?, ?, '{"status":"ok"}')
            """,
            (
                (last + n, f"{mark}-{n:024d}", job_id, status, born, born, finished, finished)
                for n in range(1, count + 1)
            ),
        )
        db.execute(
            'INSERT INTO payloads SELECT seq, \'{"ref":"main"}\' FROM runs WHERE seq > ?', (last,)
        )
    database.close()


def query(path: Path, sql: str) -> list[tuple[float, ...]]:
    """Read from a database whose service has stopped."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def lateness_ms(path: Path, since_column: str, where: str) -> list[float]:
    """Return, sorted, how long after `since_column` the tasks of `where` saw that they began."""
    began = "json_extract(result, '$.data')"
    rows = query(
        path,
        f"SELECT {began} * 1e3 - {since_column} / 1e3 FROM runs "  # noqa: S608
        f"WHERE {began} IS NOT NULL AND {where} ORDER BY 1",
    )
    return [row[0] for row in rows]


def percentile(values: list[float], share: float) -> float:
    """Return a percentile of sorted values."""
    return values[min(len(values) - 1, int(len(values) * share))]
