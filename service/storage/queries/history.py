"""Reading the accounts of cron: what jobs mean and meant, and how their ticks ended."""

import sqlite3
from datetime import datetime

from service.core.run import Status
from service.core.tick import TickOutcome, TickRecord
from service.messages import (
    CronDefinition,
    LastTick,
    ListCronDefinitions,
    ReadLastTicks,
    ReadTicks,
)
from service.storage.queries.answering import answer
from service.storage.queries.rows import instant, micros


@answer.register
def _(
    _question: ListCronDefinitions, db: sqlite3.Connection, _now: datetime
) -> tuple[CronDefinition, ...]:
    rows = db.execute(
        """
        SELECT id, schedule, timezone, since, watermark, 1 FROM cron_jobs
        UNION ALL SELECT id, schedule, timezone, since, watermark, 0 FROM past_cron_jobs
        ORDER BY id, since, 6 -- where two begin at once, the one that never came to a tick is older
        """
    )
    return tuple(
        CronDefinition(
            id=row[0],
            schedule=row[1],
            timezone=row[2],
            since=instant(row[3]),
            watermark=instant(row[4]),
            current=bool(row[5]),
        )
        for row in rows.fetchall()
    )


@answer.register
def _(question: ReadTicks, db: sqlite3.Connection, _now: datetime) -> tuple[TickRecord, ...]:
    rows = db.execute(
        """
        SELECT first, last, count, outcome FROM ticks
        WHERE cron_id = :id AND last > :after AND first <= :until AND first >= coalesce(
            (SELECT max(first) FROM ticks WHERE cron_id = :id AND first <= :after), :after
        )
        ORDER BY first LIMIT :limit
        """,
        {
            "id": question.cron_id,
            "after": micros(question.after),
            "until": micros(question.until),
            "limit": question.limit,
        },
    )
    return tuple(_record(*row) for row in rows.fetchall())


@answer.register
def _(_question: ReadLastTicks, db: sqlite3.Connection, _now: datetime) -> dict[str, LastTick]:
    rows = db.execute(
        """
        SELECT newest.cron_id, first, last, count, outcome, run_id, runs.status
        FROM cron_jobs CROSS JOIN ticks AS newest -- this way round: of the ticks there are many
            ON newest.cron_id = cron_jobs.id
            AND newest.first = (SELECT max(first) FROM ticks WHERE cron_id = cron_jobs.id)
        LEFT JOIN runs ON runs.id = newest.run_id
        """
    )
    return {
        row[0]: LastTick(_record(*row[1:5]), row[5], None if row[6] is None else Status(row[6]))
        for row in rows.fetchall()
    }


def _record(first: int, last: int, count: int, outcome: str) -> TickRecord:
    return TickRecord(
        first=instant(first), last=instant(last), count=count, outcome=TickOutcome(outcome)
    )
