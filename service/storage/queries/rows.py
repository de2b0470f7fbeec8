"""How facts are laid out in rows: instants are microseconds since 1970, a run is 18 columns."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from service.core.run import Run, Status, Trigger

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

ROWS_MAX: Final = 64
"""Rows of a statement: each number of them is a statement of its own, which Python keeps ready."""

RUN_COLUMNS: Final = """
    runs.id, job_id, status, "trigger", attempt, max_attempts, crashes, claim, body, result,
    created_at, due_at, started_at, finished_at, delivery_id, cron_id, tick, trace_context
"""

CHANGED_RUN_COLUMNS: Final = RUN_COLUMNS.replace(
    "body", "(SELECT body FROM payloads WHERE payloads.seq = runs.seq)"
)
"""The same where a statement that changes runs returns them, and can join no table."""

RunRow: TypeAlias = tuple[
    str, str, str, str, int, int, int, int, str, str | None,
    int, int, int | None, int | None, str | None, str | None, int | None, str | None,
]  # fmt: skip


def run_of(row: RunRow) -> Run:
    """Return the run that a row of `RUN_COLUMNS` holds."""
    return Run(
        id=row[0],
        job_id=row[1],
        status=Status(row[2]),
        trigger=Trigger(row[3]),
        attempt=row[4],
        max_attempts=row[5],
        crashes=row[6],
        claim=row[7],
        payload=row[8],
        result=row[9],
        created_at=instant(row[10]),
        due_at=instant(row[11]),
        started_at=None if row[12] is None else instant(row[12]),
        finished_at=None if row[13] is None else instant(row[13]),
        delivery_id=row[14],
        cron_id=row[15],
        tick=None if row[16] is None else instant(row[16]),
        trace_context=row[17],
    )


def micros(moment: datetime) -> int:
    """Return an instant as the tables hold it."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(count: int) -> datetime:
    """Return the instant that a column holds."""
    return _EPOCH + count * _MICROSECOND


def insert_rows(
    db: sqlite3.Connection, statement: str, rows: Sequence[tuple[str | int | None, ...]]
) -> int:
    """Insert rows by a statement that ends in VALUES, `ROWS_MAX` of them in each step.

    Returns the number that SQLite gave the last one, if it numbers them: one by one, in order.
    """
    last = 0
    for begin in range(0, len(rows), ROWS_MAX):
        part = rows[begin : begin + ROWS_MAX]
        row = f"({', '.join('?' * len(part[0]))})"
        values = [value for each in part for value in each]
        last = db.execute(f"{statement} {', '.join([row] * len(part))}", values).lastrowid or 0
    return last
