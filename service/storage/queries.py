"""One function for each question: the SQL that answers it.

Every change of state names the state it leaves (``WHERE status = ...``) and a runner's changes
name its claim, so a question that comes too late changes nothing and says so.
"""

import sqlite3
from datetime import UTC, datetime, timedelta
from functools import singledispatch
from typing import Final, TypeAlias

from service.core.results import Result
from service.core.run import CRASHES_MAX, Run, Status, Trigger
from service.core.wire import encode
from service.messages import (
    Accepted,
    Enqueue,
    Finish,
    GetRun,
    ListRuns,
    Probe,
    Question,
    Recover,
    Recovered,
    Release,
    Retry,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_RUN: Final = """
    runs.id, job_id, status, "trigger", attempt, max_attempts, crashes, claim, body, result,
    created_at, due_at, started_at, finished_at, delivery_id, cron_id, tick, trace_context
"""

_Row: TypeAlias = tuple[
    str, str, str, str, int, int, int, int, str, str | None,
    int, int, int | None, int | None, str | None, str | None, int | None, str | None,
]  # fmt: skip


@singledispatch
def answer(question: Question[object], _db: sqlite3.Connection, _now: datetime) -> object:
    """Answer a question within the open transaction; `now` is the instant of the whole group."""
    raise TypeError(f"nobody answers {type(question).__name__}")


@answer.register
def _(question: Enqueue, db: sqlite3.Connection, now: datetime) -> Accepted:
    instant = _micros(now)
    delivery = question.delivery
    if delivery is not None:
        seen = db.execute(
            "SELECT run_id, job_id FROM deliveries WHERE key = ? AND seen_at > ?",
            (delivery.key, _micros(now - delivery.window)),
        ).fetchone()
        if seen is not None:
            return Accepted(run_id=seen[0], job_id=seen[1], replayed=True)
        db.execute(
            "INSERT OR REPLACE INTO deliveries (key, run_id, job_id, seen_at) VALUES (?, ?, ?, ?)",
            (delivery.key, question.run_id, question.job_id, instant),
        )
    inserted = db.execute(
        """
        INSERT INTO runs (id, job_id, status, "trigger", max_attempts, created_at, due_at,
                          delivery_id, trace_context)
        VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)
        """,
        (
            question.run_id,
            question.job_id,
            question.trigger,
            question.max_attempts,
            instant,
            instant,
            None if delivery is None else delivery.id,
            question.trace_context,
        ),
    )
    db.execute("INSERT INTO payloads VALUES (?, ?)", (inserted.lastrowid, question.payload))
    return Accepted(run_id=question.run_id, job_id=question.job_id, replayed=False)


def claim(db: sqlite3.Connection, now: datetime, limit: int) -> list[Run]:
    """Take up to `limit` due runs, those due longest first."""
    taken = db.execute(
        """
        UPDATE runs
        SET status = 'running', attempt = attempt + 1, claim = claim + 1, started_at = ?1
        WHERE seq IN (
            SELECT seq FROM runs WHERE status = 'queued' AND due_at <= ?1
            ORDER BY due_at, seq LIMIT ?2
        )
        RETURNING seq, due_at
        """,
        (_micros(now), limit),
    ).fetchall()
    taken.sort(key=lambda row: (row[1], row[0]))
    return [_run_at(db, seq) for seq, _ in taken]


def next_due(db: sqlite3.Connection) -> datetime | None:
    """Tell when the earliest queued run is due."""
    (due,) = db.execute("SELECT min(due_at) FROM runs WHERE status = 'queued'").fetchone()
    return None if due is None else _instant(due)


@answer.register
def _(question: Finish, db: sqlite3.Connection, now: datetime) -> bool:
    done = db.execute(
        """
        UPDATE runs SET status = ?, result = ?, finished_at = ?
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.status, question.result, _micros(now), question.run_id, question.claim),
    )
    return done.rowcount == 1 or _stands(db, question.run_id, question.claim, question.status)


@answer.register
def _(question: Retry, db: sqlite3.Connection, _now: datetime) -> bool:
    done = db.execute(
        """
        UPDATE runs SET status = 'queued', result = ?, due_at = ?
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.result, _micros(question.due_at), question.run_id, question.claim),
    )
    return done.rowcount == 1 or _stands(db, question.run_id, question.claim, Status.QUEUED)


@answer.register
def _(question: Release, db: sqlite3.Connection, _now: datetime) -> bool:
    done = db.execute(
        """
        UPDATE runs SET status = 'queued', attempt = attempt - 1
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.run_id, question.claim),
    )
    return done.rowcount == 1 or _stands(db, question.run_id, question.claim, Status.QUEUED)


def _stands(db: sqlite3.Connection, run_id: str, claim_count: int, status: Status) -> bool:
    """Tell whether an earlier asking, whose verdict was lost, has done it already."""
    row = db.execute(
        "SELECT 1 FROM runs WHERE id = ? AND claim = ? AND status = ?",
        (run_id, claim_count, status),
    ).fetchone()
    return row is not None


@answer.register
def _(question: Recover, db: sqlite3.Connection, now: datetime) -> Recovered:
    orphans = db.execute(
        "SELECT seq, crashes + 1 FROM runs WHERE status = 'running' ORDER BY seq LIMIT ?",
        (question.limit,),
    ).fetchall()
    poisoned = [seq for seq, crashes in orphans if crashes >= CRASHES_MAX]
    requeued = [seq for seq, crashes in orphans if crashes < CRASHES_MAX]
    db.executemany(
        """
        UPDATE runs SET status = 'queued', crashes = crashes + 1, attempt = attempt - 1
        WHERE seq = ? AND status = 'running'
        """,
        [(seq,) for seq in requeued],
    )
    verdict = Result("error", f"the service died {CRASHES_MAX} times while this run was running")
    db.executemany(
        """
        UPDATE runs SET status = 'error', crashes = crashes + 1, result = ?, finished_at = ?
        WHERE seq = ? AND status = 'running'
        """,
        [(encode(verdict.to_json()), _micros(now), seq) for seq in poisoned],
    )
    return Recovered(len(requeued), tuple(_run_at(db, seq) for seq in poisoned))


@answer.register
def _(question: ListRuns, db: sqlite3.Connection, _now: datetime) -> tuple[Run, ...]:
    wanted = question.filter
    since = None if wanted.since is None else _micros(wanted.since)
    conditions = {
        "job_id = ?": wanted.job_id,
        "status = ?": wanted.status,
        '"trigger" = ?': wanted.trigger,
        "created_at >= ?": since,
    }
    chosen = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(chosen) or "true"
    rows = db.execute(
        f"SELECT {_RUN} FROM runs JOIN payloads USING (seq) WHERE {where} "  # noqa: S608 - ours
        "ORDER BY seq DESC LIMIT ?",
        (*chosen.values(), wanted.limit),
    )
    return tuple(_run(row) for row in rows.fetchall())


@answer.register
def _(question: GetRun, db: sqlite3.Connection, _now: datetime) -> Run | None:
    row = db.execute(
        f"SELECT {_RUN} FROM runs JOIN payloads USING (seq) WHERE id = ?",  # noqa: S608 - ours
        (question.run_id,),
    ).fetchone()
    return None if row is None else _run(row)


@answer.register
def _(_question: Probe, db: sqlite3.Connection, now: datetime) -> None:
    db.execute("UPDATE probe SET written_at = ?", (_micros(now),))


def _run_at(db: sqlite3.Connection, seq: int) -> Run:
    row = db.execute(
        f"SELECT {_RUN} FROM runs JOIN payloads USING (seq) WHERE seq = ?",  # noqa: S608 - ours
        (seq,),
    ).fetchone()
    return _run(row)


def _run(row: _Row) -> Run:
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
        created_at=_instant(row[10]),
        due_at=_instant(row[11]),
        started_at=None if row[12] is None else _instant(row[12]),
        finished_at=None if row[13] is None else _instant(row[13]),
        delivery_id=row[14],
        cron_id=row[15],
        tick=None if row[16] is None else _instant(row[16]),
        trace_context=row[17],
    )


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + micros * _MICROSECOND
