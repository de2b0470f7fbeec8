"""The life of a run once it is enqueued: ended, put back, taken in again after a crash.

Every change of state names the state it leaves (``WHERE status = ...``) and a runner's changes
name its claim, so a question that comes too late changes nothing and says so.
"""

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import Final

from service.core.results import Result
from service.core.run import CRASHES_MAX, Status
from service.core.wire import encode
from service.messages import Finish, Probe, Recover, Recovered, Release, Retry
from service.storage.queries.answering import answer
from service.storage.queries.attempts import keep_attempt
from service.storage.queries.reading import run_at
from service.storage.queries.rows import micros

_FINISH: Final = """
    UPDATE runs SET status = column3, result = column4, finished_at = ?
    FROM (VALUES {told}) WHERE id = column1 AND claim = column2 AND status = 'running'
"""


@answer.register
def _(question: Finish, db: sqlite3.Connection, now: datetime) -> bool:
    [held] = finish(db, [question], now)
    return held


def finish(db: sqlite3.Connection, questions: Sequence[Finish], now: datetime) -> list[bool]:
    """End runs, in one step; tell of each whether it was its runner's to end."""
    if not questions:
        return []
    told = ", ".join(["(?, ?, ?, ?)"] * len(questions))
    values = [(each.run_id, each.claim, each.status, each.result) for each in questions]
    done = db.execute(_FINISH.format(told=told), [micros(now), *chain.from_iterable(values)])
    if done.rowcount == len(questions):
        return [True] * len(questions)
    return [stands(db, q.run_id, q.claim, q.status) for q in questions]


@answer.register
def _(question: Retry, db: sqlite3.Connection, now: datetime) -> bool:
    keep_attempt(db, question.run_id, question.claim, now, ending="failed", result=question.result)
    done = db.execute(
        """
        UPDATE runs SET status = 'queued', result = ?, due_at = ?
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.result, micros(question.due_at), question.run_id, question.claim),
    )
    return done.rowcount == 1 or stands(db, question.run_id, question.claim, Status.QUEUED)


@answer.register
def _(question: Release, db: sqlite3.Connection, now: datetime) -> bool:
    keep_attempt(db, question.run_id, question.claim, now, ending="interrupted")
    done = db.execute(
        """
        UPDATE runs SET status = 'queued', attempt = attempt - 1
        WHERE id = ? AND status = 'running' AND claim = ?
        """,
        (question.run_id, question.claim),
    )
    return done.rowcount == 1 or stands(db, question.run_id, question.claim, Status.QUEUED)


def stands(db: sqlite3.Connection, run_id: str, claim_number: int, status: Status) -> bool:
    """Tell whether an earlier asking, whose verdict was lost, has done it already."""
    row = db.execute(
        "SELECT 1 FROM runs WHERE id = ? AND claim = ? AND status = ?",
        (run_id, claim_number, status),
    ).fetchone()
    return row is not None


@answer.register
def _(question: Recover, db: sqlite3.Connection, now: datetime) -> Recovered:
    orphans = db.execute(
        """
        SELECT seq, crashes + 1, id, claim FROM runs
        WHERE status <> 'ok' AND status = 'running' ORDER BY seq LIMIT ?
        """,
        (question.limit,),
    ).fetchall()
    poisoned = [seq for seq, crashes, *_ in orphans if crashes >= CRASHES_MAX]
    requeued = [seq for seq, crashes, *_ in orphans if crashes < CRASHES_MAX]
    for _, crashes, run_id, claim in orphans:
        if crashes < CRASHES_MAX:
            keep_attempt(db, run_id, claim, now, ending="crashed")
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
        [(encode(verdict.to_json()), micros(now), seq) for seq in poisoned],
    )
    return Recovered(len(requeued), tuple(run_at(db, seq) for seq in poisoned))


@answer.register
def _(_question: Probe, db: sqlite3.Connection, now: datetime) -> None:
    db.execute("UPDATE probe SET written_at = ?", (micros(now),))
