"""Databases filled to order, and what a database tells after a measure."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from service.storage.database import Database

__all__ = ["fill", "lateness_ms", "percentile", "query"]

CHUNK: Final = 250_000
"""Runs of a transaction, so that the log of a large fill stays small."""


def fill(
    path: Path,
    count: int,
    state: Literal["finished", "queued"],
    *,
    age: timedelta,
    job_id: str = "noop",
) -> None:
    """Add `count` runs that were created `age` ago; of finished ones each thousandth failed."""
    database = Database.open(path)
    born = int((datetime.now(UTC) - age).timestamp() * 1e6)
    mark = f"{time.time_ns():x}"
    (last,) = database.connection.execute("SELECT coalesce(max(seq), 0) FROM runs").fetchone()
    for begin in range(0, count, CHUNK):
        size = min(CHUNK, count - begin)
        with database.transaction() as db:
            db.execute(
                """
                WITH RECURSIVE n (seq) AS (
                    SELECT :first UNION ALL SELECT seq + 1 FROM n WHERE seq < :last
                )
                INSERT INTO runs (seq, id, job_id, status, "trigger", attempt, max_attempts, claim,
                                  created_at, due_at, started_at, finished_at, result)
                SELECT seq, printf('%s-%020d', :mark, seq), :job_id,
                       iif(:finished IS NULL, 'queued', iif(seq % 1000, 'ok', 'error')),
                       'webhook', 0, 4, 0, :born, :born, :finished, :finished, '{"status":"ok"}'
                FROM n
                """,
                {
                    "first": last + begin + 1,
                    "last": last + begin + size,
                    "mark": mark,
                    "job_id": job_id,
                    "born": born,
                    "finished": None if state == "queued" else born,
                },
            )
            db.execute(
                'INSERT INTO payloads SELECT seq, \'{"ref":"main"}\' FROM runs WHERE seq > ?',
                (last + begin,),
            )
        database.checkpoint()
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
