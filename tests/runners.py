"""A runner in the test's own process, over a store behind a door."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import trio
from trio.testing import MockClock

from service.actors.runner import Runner
from service.core.run import Run
from service.core.wire import Json, decode, encode
from service.door import Door, Ticket
from service.hop import Hop, inline
from service.messages import GetRun, Question
from service.pool import Pool
from service.settings import Settings
from service.tasks.loading import Workload
from service.tasks.outbound import Outbound
from service.tasks.registry import Registry
from service.yard import Yard
from tests.stores import START, Clock, enqueue, store_behind_door

SETTINGS: Final = Settings()
OUTBOUND: Final = Outbound()

V = TypeVar("V")


@attrs.frozen
class ListeningDoor(Door):
    """A door that keeps what is asked through it."""

    heard: list[Question[object]] = attrs.field(factory=list)

    async def post(self, question: Question[V]) -> Ticket[V]:
        self.heard.append(question)
        return await super().post(question)


@attrs.define
class AtWork:
    """A runner at work."""

    door: Door
    pool: Pool
    asked: list[Question[object]]
    """What the runner has asked the store."""

    async def enqueue(self, job_id: str, payload: Json = None, *, max_attempts: int = 4) -> str:
        """Put a run in the queue; return its id."""
        question = enqueue(job_id, max_attempts=max_attempts)
        accepted = await self.door.ask(attrs.evolve(question, payload=encode(payload)))
        return accepted.run_id

    async def look(self, run_id: str) -> Run:
        run = await self.door.ask(GetRun(run_id))
        assert run is not None
        return run

    async def end_of(self, run_id: str) -> Run:
        """Return the run when it has ended; on a virtual clock, whatever it takes."""
        pause = 1.0
        while (run := await self.look(run_id)).finished_at is None:  # noqa: ASYNC110 - no event
            await trio.sleep(pause)
            pause *= 1.05
        return run

    async def perform(self, job_id: str, payload: Json = None, *, max_attempts: int = 4) -> Run:
        """Return a new run when it has ended."""
        return await self.end_of(await self.enqueue(job_id, payload, max_attempts=max_attempts))


@asynccontextmanager
async def at_work(  # noqa: PLR0913 - each has its usual value
    registry: Registry,
    clock: MockClock,
    *,
    path: Path | None = None,
    settings: Settings = SETTINGS,
    hop: Hop = inline,
    outbound: Outbound = OUTBOUND,
) -> AsyncIterator[AtWork]:
    """Hold a runner of the registered tasks on a virtual clock, for as long as the block lasts."""
    assert clock.autojump_threshold == 0
    now = Clock()
    pool = Pool()
    async with store_behind_door(path, now=now, hop=hop) as door, trio.open_nursery() as yard:
        own = ListeningDoor(door.clone()._mailbox)  # noqa: SLF001 - a door like any other
        runner = Runner(
            door=own,
            pool=pool,
            yard=Yard(yard),
            workload=Workload({task.id: task for task in registry}, ()),
            settings=settings,
            threads=trio.CapacityLimiter(4),
            cron_timeouts={},
            now=now,
            outbound=outbound,
        )
        async with trio.open_nursery() as nursery:  # noqa: ASYNC101 - the fixture of one test
            nursery.start_soon(runner.work)
            yield AtWork(door, pool, own.heard)
            pool.stop_hiring()


def seconds_of(run: Run) -> float:
    """Return when, on the virtual clock, the run ended."""
    assert run.finished_at is not None
    return (run.finished_at - START).total_seconds()


def result_of(run: Run) -> Json:
    """Return the data of a run that succeeded."""
    assert run.result is not None
    result = decode(run.result)
    assert isinstance(result, dict)
    assert result["status"] == "ok", result
    return result.get("data")


def message_of(run: Run) -> str:
    """Return what a run that failed says."""
    assert run.result is not None
    result = decode(run.result)
    assert isinstance(result, dict)
    assert result["status"] == "error", result
    return str(result["message"])
