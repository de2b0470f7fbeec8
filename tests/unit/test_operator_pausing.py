"""Paused jobs: their runs wait, everybody else's go on, and a pause outlives the process."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from service.core.limits import Limits, Rate
from service.core.run import Run
from service.door import Door
from service.messages import (
    Claim,
    ListPausedJobs,
    PauseJobs,
    Release,
    ResumeJobs,
)
from service.storage import queries
from service.storage.database import Database
from tests.stores import START, Clock, enqueue, store_behind_door


async def claimed(door: Door) -> Run | None:
    """Return the run that an idle runner gets, or None if it gets none for a day."""
    with trio.move_on_after(86_400):
        return await door.ask(Claim())
    return None


async def test_runs_of_a_paused_job_wait_until_it_is_resumed(autojump_clock: MockClock) -> None:
    """Others pass them by; when the job is resumed, a runner that waits gets them at once."""
    async with store_behind_door(now=Clock()) as door:
        first = await door.ask(enqueue("a"))
        assert await door.ask(PauseJobs("a"))
        other = await door.ask(enqueue("b"))
        run = await claimed(door)
        assert run is not None
        assert run.id == other.run_id
        assert await claimed(door) is None
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                run = await door.ask(Claim())
                assert run.id == first.run_id

            await trio.testing.wait_all_tasks_blocked()
            started_at = trio.current_time()
            assert await door.ask(ResumeJobs("a"))
        assert trio.current_time() == started_at


async def test_a_pause_outlives_the_process(tmp_path: Path, autojump_clock: MockClock) -> None:
    """What was paused is paused after a restart, and can be resumed there."""
    path = tmp_path / "runs.sqlite3"
    async with store_behind_door(path, now=Clock()) as door:
        await door.ask(enqueue("a"))
        await door.ask(PauseJobs("a"))
    async with store_behind_door(path, now=Clock()) as door:
        assert await door.ask(ListPausedJobs()) == ("a",)
        assert await claimed(door) is None
        await door.ask(ResumeJobs("a"))
        assert await claimed(door) is not None


async def test_every_job_can_be_paused(autojump_clock: MockClock) -> None:
    """Also one that nobody has heard of yet; a pause of its own ends with that of all."""
    async with store_behind_door(now=Clock()) as door:
        assert await door.ask(PauseJobs(None))
        assert await door.ask(PauseJobs("a"))
        assert not await door.ask(PauseJobs("a"))
        await door.ask(enqueue("new"))
        await door.ask(enqueue("a"))
        assert await claimed(door) is None
        assert await door.ask(ListPausedJobs()) == (None, "a")
        assert await door.ask(ResumeJobs(None))
        assert not await door.ask(ResumeJobs(None))
        assert await claimed(door)
        assert await claimed(door)


async def test_a_running_run_goes_on_and_its_retry_waits(autojump_clock: MockClock) -> None:
    """A pause interrupts nothing; what comes back to the queue meanwhile waits there."""
    async with store_behind_door(now=Clock()) as door:
        await door.ask(enqueue("a"))
        run = await door.ask(Claim())
        await door.ask(PauseJobs("a"))
        assert await door.ask(Release(run.id, run.claim))
        assert await claimed(door) is None


async def test_the_others_come_in_their_order(autojump_clock: MockClock) -> None:
    """Beside a paused job the others go round, each job's runs as they were due."""
    async with store_behind_door(now=Clock()) as door:
        await door.ask(PauseJobs("p"))
        names = {}
        for name in ("b1", "p1", "a1", "b2", "p2", "a2", "c1"):
            names[(await door.ask(enqueue(name[0]))).run_id] = name
            await trio.sleep(1)
        got = [names[run.id] for _ in range(5) if (run := await claimed(door))]
        assert got == ["b1", "a1", "c1", "b2", "a2"]


@contextmanager
def counted_steps(database: Database) -> Iterator[list[int]]:
    """Count the instructions of SQLite's machine."""
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    database.connection.set_progress_handler(step, 1)
    yield steps
    database.connection.set_progress_handler(None, 0)


@pytest.mark.parametrize("obstacle", ["none", "paused", "full", "rated"])
def test_a_claim_costs_the_same_whatever_has_piled_up(obstacle: str) -> None:
    """Ten times the backlog, of a job that may not begin or of any, is no more work."""
    limits = {"full": Limits(max_concurrency=1), "rated": Limits(rate=Rate(1, 60))}
    costs = []
    for backlog in (200, 2_000):
        database = Database.open(None)
        queue = queries.Queue({"a": limits[obstacle]} if obstacle in limits else {})
        with database.transaction() as db:
            for _ in range(backlog):
                queries.answer(enqueue("a"), db, START)
            if obstacle in limits:
                queue.claim(db, START, 1)
            for _ in range(10):
                queries.answer(enqueue("b"), db, START + timedelta(seconds=1))
            if obstacle == "paused":
                queries.answer(PauseJobs("a"), db, START)
            with counted_steps(database) as steps:
                runs = queue.claim(db, START + timedelta(seconds=2), 5)
                queue.next_due(db, START + timedelta(seconds=2))
        assert len(runs) == 5
        assert {run.job_id for run in runs} == ({"a", "b"} if obstacle == "none" else {"b"})
        costs.append(steps[0])
        database.close()
    assert costs[1] <= costs[0] * 1.1
