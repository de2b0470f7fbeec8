"""A store actor in the test's own process, behind a door."""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
import trio

from service.actors.store import run_store
from service.core.limits import Limits
from service.core.run import Run, Trigger
from service.door import Door, open_mailbox
from service.hop import Hop, inline
from service.messages import (
    Delivery,
    Enqueue,
    ListRuns,
    RunFilter,
)
from service.storage.database import Database

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW: Final = timedelta(hours=48)


@attrs.define
class Clock:
    """A wall clock that moves when told to, and with trio's virtual clock."""

    offset: timedelta = timedelta()

    def __call__(self) -> datetime:
        return START + self.offset + timedelta(seconds=trio.current_time())


@asynccontextmanager
async def store_behind_door(
    path: Path | None = None,
    *,
    now: Callable[[], datetime],
    hop: Hop = inline,
    limits: Mapping[str, Limits] | None = None,
) -> AsyncIterator[Door]:
    """Hold a door to a store; the store ends when the block does."""
    door, mailbox = open_mailbox()
    database = Database.open(path)

    async def keep() -> None:
        with trio.CancelScope(shield=True):
            await run_store(mailbox, database, limits=limits or {}, now=now, hop=hop)

    async with trio.open_nursery() as nursery:  # noqa: ASYNC101 - the fixture of one test
        nursery.start_soon(keep)
        with door:
            yield door


_NUMBERS: Final = itertools.count()


def enqueue(job_id: str = "echo", *, delivery: str | None = None, max_attempts: int = 4) -> Enqueue:
    """Return the question that puts a new run in the queue."""
    return Enqueue(
        run_id=f"run-{next(_NUMBERS)}",
        job_id=job_id,
        trigger=Trigger.WEBHOOK,
        payload="null",
        max_attempts=max_attempts,
        delivery=None
        if delivery is None
        else Delivery(key=f"key:{delivery}", id=delivery, window=WINDOW),
    )


async def all_runs(door: Door) -> dict[str, Run]:
    """Return every run in the store by its id."""
    listed = await door.ask(ListRuns(RunFilter(limit=100_000)))
    return {run.id: run for run in listed.runs}
