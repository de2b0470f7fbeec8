"""Cron jobs: what they mean, how far they are accounted for, and how each tick ended."""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from service.core.results import Result
from service.core.run import Status
from service.core.tick import CronState, TickRecord
from service.core.wire import encode
from service.messages import (
    AdoptCronJobs,
    AdvanceCron,
    CronAdvance,
    CronMeaning,
    CronRun,
    ReadCronStates,
)
from service.storage.queries.answering import answer
from service.storage.queries.rows import instant, micros


@answer.register
def _(question: AdoptCronJobs, db: sqlite3.Connection, _now: datetime) -> dict[str, datetime]:
    known = {
        row[0]: (CronMeaning(row[1], row[2]), row[3])
        for row in db.execute("SELECT id, schedule, timezone, watermark FROM cron_jobs")
    }
    for cron_id, (meaning, _) in known.items():
        if question.jobs.get(cron_id) != meaning:
            if cron_id in question.missed:
                _record_others(db, cron_id, (question.missed[cron_id],))
            db.execute(
                "UPDATE cron_jobs SET watermark = max(watermark, ?) WHERE id = ?",
                (micros(question.at), cron_id),
            )
            db.execute(
                "INSERT OR REPLACE INTO past_cron_jobs SELECT * FROM cron_jobs WHERE id = ?",
                (cron_id,),
            )
            db.execute("DELETE FROM cron_jobs WHERE id = ?", (cron_id,))
    watermarks = {}
    for cron_id, meaning in question.jobs.items():
        if cron_id in known and known[cron_id][0] == meaning:
            watermarks[cron_id] = instant(known[cron_id][1])
        else:
            watermarks[cron_id] = max(question.at, _last_watermark(db, cron_id))
            start = micros(watermarks[cron_id])
            db.execute(
                "INSERT INTO cron_jobs VALUES (?, ?, ?, ?, ?)",
                (cron_id, meaning.schedule, meaning.timezone, start, start),
            )
    return watermarks


def _last_watermark(db: sqlite3.Connection, cron_id: str) -> datetime:
    """Return how far an earlier meaning got: the clock may have been set back since."""
    (last,) = db.execute(
        "SELECT max(watermark) FROM past_cron_jobs WHERE id = ?", (cron_id,)
    ).fetchone()
    return instant(last or 0)


@answer.register
def _(question: ReadCronStates, db: sqlite3.Connection, _now: datetime) -> dict[str, CronState]:
    return {cron_id: _cron_state(db, cron_id) for cron_id in question.cron_ids}


def _cron_state(db: sqlite3.Connection, cron_id: str) -> CronState:
    (watermark,) = db.execute("SELECT watermark FROM cron_jobs WHERE id = ?", (cron_id,)).fetchone()
    unfinished = db.execute(
        """
        SELECT status, count(*) FROM runs
        WHERE cron_id = ? AND status IN ('queued', 'running') GROUP BY status
        """,
        (cron_id,),
    )
    counts = dict(unfinished.fetchall())
    return CronState(
        watermark=instant(watermark),
        queued=counts.get(Status.QUEUED, 0),
        running=counts.get(Status.RUNNING, 0),
    )


@answer.register
def _(question: AdvanceCron, db: sqlite3.Connection, now: datetime) -> dict[str, str]:
    cancelled: dict[str, str] = {}
    for advance in question.advances:
        moved = db.execute(
            "UPDATE cron_jobs SET watermark = ? WHERE id = ? AND watermark = ?",
            (micros(advance.watermark), advance.cron_id, micros(advance.seen_watermark)),
        )
        if moved.rowcount == 1:
            if advance.cancel_previous:
                cancelled |= _cancel_unfinished(db, advance.cron_id, now)
            _record_others(db, advance.cron_id, advance.records)
            for run in advance.runs:
                _enqueue_tick(db, advance, run, now)
    return cancelled


def _cancel_unfinished(db: sqlite3.Connection, cron_id: str, now: datetime) -> dict[str, str]:
    verdict = Result("error", "cancelled: the next tick of its cron job came")
    rows = db.execute(
        """
        UPDATE runs SET status = 'cancelled', result = ?, finished_at = ?
        WHERE cron_id = ? AND status IN ('queued', 'running')
        RETURNING id, job_id
        """,
        (encode(verdict.to_json()), micros(now), cron_id),
    )
    return dict(rows.fetchall())


def _record_others(db: sqlite3.Connection, cron_id: str, records: Iterable[TickRecord]) -> None:
    """Record the ticks that did not run."""
    db.executemany(
        "INSERT INTO ticks (cron_id, first, last, count, outcome) VALUES (?, ?, ?, ?, ?)",
        [
            (cron_id, micros(record.first), micros(record.last), record.count, record.outcome)
            for record in records
        ],
    )


def _enqueue_tick(
    db: sqlite3.Connection, advance: CronAdvance, run: CronRun, now: datetime
) -> None:
    db.execute(
        "INSERT INTO ticks (cron_id, first, last, count, outcome, run_id) "
        "VALUES (:cron, :tick, :tick, 1, 'ran', :run)",
        {"cron": advance.cron_id, "tick": micros(run.tick), "run": run.run_id},
    )
    inserted = db.execute(
        """
        INSERT INTO runs (id, job_id, status, "trigger", max_attempts, created_at, due_at,
                          cron_id, tick, trace_context)
        VALUES (?, ?, 'queued', 'cron', ?, ?, ?, ?, ?, ?)
        """,
        (
            run.run_id,
            advance.job_id,
            advance.max_attempts,
            micros(now),
            micros(run.due_at),
            advance.cron_id,
            micros(run.tick),
            run.trace_context,
        ),
    )
    db.execute("INSERT INTO payloads VALUES (?, ?)", (inserted.lastrowid, advance.payload))
