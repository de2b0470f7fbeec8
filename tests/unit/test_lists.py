"""Lists of runs, read page by page."""

import random
from contextlib import closing
from datetime import timedelta

import pytest

from service.client import list_runs
from service.core.run import Status, Trigger
from service.messages import Listed, ListRuns, RunFilter
from service.storage import queries
from service.storage.database import Database
from service.storage.queries import reading
from service.storage.queries.rows import micros
from tests.stores import START

FILTERS = [
    RunFilter(job_id=job_id, status=status, trigger=trigger, since=since, limit=limit)
    for job_id in (None, "a", "nobody")
    for status in (None, *Status)
    for trigger in (None, Trigger.CRON)
    for since in (None, START, START + timedelta(minutes=50))
    for limit in (7, 1000)
]


@pytest.mark.parametrize("look_max", [1, 10, 1000])
def test_pages_come_to_the_whole_list(look_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every filter: what matches, newest first, as many as wanted, however long a page is."""
    monkeypatch.setattr(reading, "LOOK_MAX", look_max)
    rng = random.Random(look_max)
    with closing(Database.open(None)) as database, database.transaction() as db:
        rows = []
        for seq in sorted(rng.sample(range(1, 200), 100)):
            status, job_id = rng.choice(list(Status)), rng.choice("ab")
            created_at = START + timedelta(minutes=seq / 2)
            finished_at = None if status in {Status.QUEUED, Status.RUNNING} else micros(START)
            trigger = rng.choice(list(Trigger))
            rows.append((seq, job_id, status, trigger, created_at))
            db.execute(
                'INSERT INTO runs (seq, id, job_id, status, "trigger", max_attempts, created_at, '
                "due_at, finished_at) VALUES (?, ?, ?, ?, ?, 1, ?, 0, ?)",
                (seq, f"run-{seq}", job_id, status, trigger, micros(created_at), finished_at),
            )
            db.execute("INSERT INTO payloads VALUES (?, 'null')", (seq,))

        def asked(question: ListRuns) -> Listed:
            verdict = queries.answer(question, db, START)
            assert isinstance(verdict, Listed)
            return verdict

        for wanted in FILTERS:
            matching = [
                f"run-{seq}"
                for seq, job_id, status, trigger, created_at in reversed(rows)
                if wanted.job_id in {None, job_id}
                and wanted.status in {None, status}
                and wanted.trigger in {None, trigger}
                and (wanted.since is None or created_at >= wanted.since)
            ]
            found = [run.id for run in list_runs(wanted, asked)]
            assert found == matching[: wanted.limit], wanted
