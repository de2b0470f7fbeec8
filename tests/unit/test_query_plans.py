"""How SQLite finds what is asked for: by an index, whatever has piled up."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import pytest

from service.core.limits import Limits, Rate
from service.core.run import Status, Trigger
from service.core.tick import TickOutcome, TickRecord
from service.messages import (
    AdoptCronJobs,
    AdvanceCron,
    CancelRun,
    CronAdvance,
    CronMeaning,
    CronRun,
    FindRuns,
    Finish,
    GetRun,
    ListCronDefinitions,
    Listed,
    ListPausedJobs,
    ListRuns,
    Measure,
    PauseJobs,
    Probe,
    Prune,
    Question,
    ReadCronStates,
    ReadLastTicks,
    ReadNews,
    ReadOutcomes,
    ReadOverview,
    ReadStanding,
    ReadSteps,
    ReadStory,
    ReadTicks,
    RecordStep,
    Recover,
    Release,
    ResumeJobs,
    Retry,
    RunFilter,
    Suspend,
)
from service.storage import queries
from service.storage.database import Database
from service.storage.queries import reading
from tests.stores import START, enqueue

LATER: Final = START + timedelta(hours=1)
EARLIER: Final = START - timedelta(hours=1)
MISSED: Final = TickRecord(first=EARLIER, last=EARLIER, count=1, outcome=TickOutcome.MISSED)
RUN: Final = "run-x"
ADVANCE: Final = CronAdvance(
    cron_id="c",
    job_id="a",
    payload="null",
    max_attempts=1,
    seen_watermark=START,
    watermark=LATER,
    runs=(CronRun(run_id="run-tick", tick=LATER, due_at=LATER),),
    records=(TickRecord(first=START, last=START, count=1, outcome=TickOutcome.MISSED),),
    cancel_previous=True,
)
FILTERS: Final = [
    RunFilter(job_id=job_id, status=status, trigger=trigger, since=since)
    for job_id in (None, "a")
    for status in (None, *Status)
    for trigger in (None, Trigger.CRON)
    for since in (None, LATER)
]
QUESTIONS: Final[list[Question[object]]] = [
    AdoptCronJobs({"c": CronMeaning("@daily", "UTC")}, START, {}),
    AdoptCronJobs({"c": CronMeaning("@hourly", "UTC")}, START, {"c": MISSED}),
    enqueue("a", delivery="d"),
    enqueue("a", delivery="d"),
    *(
        asked
        for last_word in (
            Finish(RUN, 1, Status.OK, "null"),
            Retry(RUN, 1, LATER, "null"),
            Release(RUN, 1),
            Suspend(RUN, 1, LATER),
        )
        for asked in (RecordStep(RUN, 1, "step", "null"), last_word)
    ),
    AdvanceCron((ADVANCE,)),
    CancelRun(RUN),
    FindRuns("run-", 10),
    GetRun(RUN),
    ListCronDefinitions(),
    *(ListRuns(wanted) for wanted in FILTERS),
    PauseJobs("a"),
    ListPausedJobs(),
    ResumeJobs("a"),
    Measure(),
    Probe(),
    Prune(after=0, finished_before=START, ticks_before=START, seen_before=START, limit=10),
    ReadCronStates(("c",)),
    ReadLastTicks(),
    ReadNews(after=0, watched=(RUN,), limit=10),
    ReadOutcomes(before=None, since=START, limit=10),
    ReadOverview(),
    ReadStanding(RUN),
    ReadSteps(RUN),
    ReadStory(RUN),
    ReadTicks(cron_id="c", after=START, until=LATER, limit=10),
    Recover(10),
]

SMALL: Final = "(jobs$|paused_jobs|probe|cron_jobs|past_cron_jobs|json_each|\\(subquery|CONSTANT)"
"""Tables that do not grow with what the service has done, and the jobs that wait."""

OF_THE_UNFINISHED: Final = "runs USING (COVERING )?INDEX (runs_waiting|runs_of_cron_unfinished)"
"""Walked from an end, and only so far as something waits, up to a limit."""


@contextmanager
def overheard(database: Database) -> Iterator[set[str]]:
    """Collect the statements that are executed."""
    statements: set[str] = set()
    database.connection.set_trace_callback(statements.add)
    yield statements
    database.connection.set_trace_callback(None)


def plan(db: sqlite3.Connection, statement: str) -> list[str]:
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")]


def test_every_question_is_asked() -> None:
    """A question that is not here could read a whole table unseen."""
    assert {type(question) for question in QUESTIONS} == set(queries.answer.registry) - {object}


def test_no_question_reads_a_whole_table() -> None:
    """Each statement of each question searches by a key or an index."""
    database = Database.open(None)
    with overheard(database) as statements, database.transaction() as db:
        queue = queries.Queue({"a": Limits(rate=Rate(1, 60))})
        for question in QUESTIONS:
            queries.answer(question, db, START)
            queue.next_due(db, START)
            queue.claim(db, START, 2)
    asked = [
        text for text in statements if re.match(r"\s*(WITH|SELECT|UPDATE|DELETE|INSERT)", text)
    ]
    assert len(asked) > len(QUESTIONS)
    for statement in asked:
        for step in plan(database.connection, statement):
            if step.startswith("SCAN"):
                assert re.match(f"SCAN ({SMALL}|{OF_THE_UNFINISHED})", step), (step, statement)
    database.close()


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_a_list_costs_the_same_whatever_has_been_kept(
    wanted: RunFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of ten times as many finished runs, none of which match, is no more work."""
    monkeypatch.setattr(reading, "LOOK_MAX", 100)
    costs = []
    for kept in (300, 3_000):
        database = Database.open(None)
        with database.transaction() as db:
            status = Status.ERROR if wanted.status is Status.OK else Status.OK
            db.execute(
                """
                WITH RECURSIVE counter (n) AS (
                    SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < ?
                )
                INSERT INTO runs (seq, id, job_id, status, "trigger", max_attempts, created_at,
                                  due_at, finished_at)
                SELECT n, 'run-' || n, 'a', ?, 'webhook', 1, 0, 0, 0 FROM counter
                """,
                (kept, status),
            )
            db.execute("INSERT INTO payloads SELECT seq, 'null' FROM runs")
            steps = [0]

            def step(steps: list[int] = steps) -> int:
                steps[0] += 1
                return 0

            db.set_progress_handler(step, 1)
            queries.answer(ListRuns(wanted), db, START)
            db.set_progress_handler(None, 0)
        costs.append(steps[0])
        database.close()
    assert costs[1] <= costs[0] * 1.1


def test_the_runs_of_a_rare_job_are_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else a list asks of a job's runs, it passes over those of all other jobs."""
    monkeypatch.setattr(reading, "LOOK_MAX", 10)
    database = Database.open(None)
    with database.transaction() as db:
        for job_id in ("rare", *["flood"] * 100):
            queries.answer(enqueue(job_id), db, START)
        wanted = RunFilter(job_id="rare", trigger=Trigger.WEBHOOK, since=START)
        listed = queries.answer(ListRuns(wanted), db, START)
    database.close()
    assert isinstance(listed, Listed)
    assert ([run.job_id for run in listed.runs], listed.before) == (["rare"], None)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_the_unfinished_runs_of_a_job_are_one_page(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits or runs of a job is found at once, however many of its runs have ended since."""
    monkeypatch.setattr(reading, "LOOK_MAX", 10)
    database = Database.open(None)
    with database.transaction() as db:
        for _ in range(100):
            queries.answer(enqueue("a"), db, START)
        db.execute("UPDATE runs SET status = 'ok', finished_at = 0 WHERE seq > 1")
        db.execute("UPDATE runs SET status = ? WHERE seq = 1", (status,))
        listed = queries.answer(ListRuns(RunFilter(job_id="a", status=status)), db, START)
    database.close()
    assert isinstance(listed, Listed)
    assert ([run.status for run in listed.runs], listed.before) == ([status], None)


def test_what_waits_of_a_job_is_found_beside_a_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """To list the queued runs of one job costs the same whatever waits of another."""
    monkeypatch.setattr(reading, "LOOK_MAX", 10)
    costs = []
    for waiting in (100, 1_000):
        database = Database.open(None)
        with database.transaction() as db:
            for job_id in ("rare", *["flood"] * waiting):
                queries.answer(enqueue(job_id), db, START)
            steps: list[None] = []
            db.set_progress_handler(partial(steps.append, None), 1)
            listed = queries.answer(
                ListRuns(RunFilter(job_id="rare", status=Status.QUEUED)), db, START
            )
            db.set_progress_handler(None, 0)
        database.close()
        assert isinstance(listed, Listed)
        assert [run.job_id for run in listed.runs] == ["rare"]
        costs.append(len(steps))
    assert costs[1] <= costs[0] * 1.1
