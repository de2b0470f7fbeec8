"""The queue: which runs are next, and when the next one may begin.

Theory of operation
-------------------
Each job that has runs waiting is a line of its own, in the order in which they are due. Only the
heads of the lines are looked at, so a claim's cost grows with the number of jobs that wait, never
with what has piled up behind one of them. A line is closed while its job is paused, or has as many
runs at work as it may have; a rate closes it until the oldest of its recent starts is old enough.

Whose turn it is among the open lines is decided in `core.turns`. The turns taken are remembered in
memory alone: after a restart the round begins anew.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count

import attrs

from service.core.limits import UNLIMITED, Limits
from service.core.run import Run
from service.core.turns import Line, foremost, take_turns
from service.storage.queries.rows import CHANGED_RUN_COLUMNS, instant, micros, run_of
from service.storage.queries.waiting import note_start, open_heads, rated_room, ready

__all__ = ["Queue"]


@attrs.frozen
class _Opening:
    """From `opens_at` on, up to `room` runs of a job may begin, beside those at work."""

    job_id: str
    opens_at: int
    room: int
    at_work: int


@attrs.define
class Queue:
    """The queue under the limits of the jobs; a job that is not named has none."""

    _limits: Mapping[str, Limits]
    _last_turns: dict[str, int] = attrs.field(factory=dict, init=False)
    _turns: "count[int]" = attrs.field(factory=lambda: count(1), init=False)

    def claim(self, db: sqlite3.Connection, now: datetime, slots: int) -> list[Run]:
        """Take up to `slots` runs that are due and may begin, in turn."""
        moment = micros(now)
        lines = foremost(self._open_lines(db, moment), slots)
        waiting = {
            line.job_id: ready(db, line.job_id, moment, min(line.room, slots)) for line in lines
        }
        taken = take_turns(lines, waiting, slots)
        claimed = db.execute(
            f"""
            UPDATE runs
            SET status = 'running', attempt = attempt + 1, claim = claim + 1, started_at = ?
            WHERE seq IN (SELECT value FROM json_each(?)) AND status = 'queued'
            RETURNING seq, {CHANGED_RUN_COLUMNS}
            """,  # noqa: S608 - ours
            (moment, json.dumps(taken)),
        )
        by_seq = {seq: run_of(row) for seq, *row in claimed.fetchall()}
        runs = [by_seq[seq] for seq in taken]
        for run in runs:
            self._note_turn(db, run.job_id, moment)
        return runs

    def next_due(self, db: sqlite3.Connection, now: datetime) -> datetime | None:
        """Tell when a run may begin as things are; None if that takes an end or a new run."""
        openings = self._openings(db, micros(now))
        first = min((opening.opens_at for opening in openings), default=None)
        return None if first is None else instant(first)

    def _open_lines(self, db: sqlite3.Connection, moment: int) -> Iterator[Line]:
        for opening in self._openings(db, moment):
            if opening.opens_at <= moment:
                yield Line(
                    job_id=opening.job_id,
                    priority=self._limits_of(opening.job_id).priority,
                    running=opening.at_work,
                    last_turn=self._last_turns.get(opening.job_id, 0),
                    due_at=opening.opens_at,
                    room=opening.room,
                )

    def _openings(self, db: sqlite3.Connection, moment: int) -> Iterator[_Opening]:
        """Yield the lines that are open, or will open by themselves."""
        for job_id, due_at, busy in open_heads(db):
            limits = self._limits_of(job_id)
            room, opens_at = limits.room(busy), due_at
            if limits.rate is not None:
                allowed, allowed_at = rated_room(db, job_id, limits.rate, moment)
                room, opens_at = min(room, allowed), max(due_at, allowed_at)
            if room > 0:
                yield _Opening(job_id, opens_at, room, busy)

    def _limits_of(self, job_id: str) -> Limits:
        return self._limits.get(job_id, UNLIMITED)

    def _note_turn(self, db: sqlite3.Connection, job_id: str, moment: int) -> None:
        self._last_turns[job_id] = next(self._turns)
        rate = self._limits_of(job_id).rate
        if rate is not None:
            note_start(db, job_id, rate, moment)
