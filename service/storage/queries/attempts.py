"""The attempts that did not end their run, kept so that a person can read what happened.

The last attempt stands in the run itself, so that a run which succeeds at once costs nothing more.
"""

import sqlite3
from datetime import datetime
from typing import Final

from service.messages import PastAttempt, ReadStory, RecordedStep, Story
from service.storage.queries.answering import answer
from service.storage.queries.rows import instant, micros

STEPS_MAX: Final = 1_000
KEPT_MAX: Final = 100
"""Attempts that are kept of a run: one that waits for something may be interrupted for months."""


def keep_attempt(  # noqa: PLR0913 - the columns
    db: sqlite3.Connection,
    run_id: str,
    claim: int,
    now: datetime,
    *,
    ending: str,
    result: str | None = None,
) -> None:
    """Keep the attempt of a running run that ends now without ending the run, if it is held."""
    db.execute(
        """
        INSERT OR REPLACE INTO past_attempts
        SELECT seq, claim, attempt, started_at, ?, ?, json_extract(?, '$.message')
        FROM runs WHERE id = ? AND claim = ? AND status = 'running'
        """,
        (micros(now), ending, result, run_id, claim),
    )
    db.execute(
        """
        DELETE FROM past_attempts
        WHERE run = (SELECT seq FROM runs WHERE id = ?) AND claim <= ? - ?
        """,
        (run_id, claim, KEPT_MAX),
    )


@answer.register
def _(question: ReadStory, db: sqlite3.Connection, _now: datetime) -> Story:
    attempts = db.execute(
        """
        SELECT past.attempt, past.started_at, past.ended_at, past.ending, past.message
        FROM past_attempts AS past JOIN runs ON runs.seq = past.run
        WHERE runs.id = ? ORDER BY past.claim
        """,
        (question.run_id,),
    )
    steps = db.execute(
        """
        SELECT name, recorded_at FROM steps JOIN runs ON runs.seq = steps.run
        WHERE runs.id = ? ORDER BY recorded_at LIMIT ?
        """,
        (question.run_id, STEPS_MAX),
    )
    return Story(
        tuple(
            PastAttempt(
                attempt=row[0],
                started_at=instant(row[1]),
                ended_at=instant(row[2]),
                ending=row[3],
                message=row[4],
            )
            for row in attempts.fetchall()
        ),
        tuple(RecordedStep(row[0], instant(row[1])) for row in steps.fetchall()),
    )
