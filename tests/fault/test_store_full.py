"""The store when the disk is full: who is refused, who waits, and what it costs to wait.

SQLite itself says that the disk is full, for a limit on the number of its pages.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from service.actors.store import RETRY_SECONDS, inline, run_store
from service.core.errors import StoreUnavailable
from service.core.run import Run
from service.messages import Claim, Door, Enqueue, Probe, Ticket, open_mailbox
from service.storage.database import LOG_BYTES_MAX, LOG_KEPT_BYTES, Database
from service.storage.queries import answer
from tests.stores import START, Clock, enqueue


def large() -> Enqueue:
    """Return a question that does not fit on a full disk."""
    return attrs.evolve(enqueue(), payload='"' + "x" * 100_000 + '"')


@asynccontextmanager
async def store_on_full_disk() -> AsyncIterator[tuple[Door, Database]]:
    door, mailbox = open_mailbox()
    database = Database.open(None)
    (pages,) = database.connection.execute("PRAGMA page_count").fetchone()
    database.connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    async with trio.open_nursery() as nursery:  # noqa: ASYNC101 - the fixture of one test
        nursery.start_soon(_keep, mailbox, database)
        with door:
            yield door, database


async def _keep(mailbox: trio.MemoryReceiveChannel[Ticket[object]], database: Database) -> None:
    with trio.CancelScope(shield=True):
        await run_store(mailbox, database, limits={}, now=Clock(), hop=inline)


@attrs.define(eq=False, slots=False)
class Steps(trio.abc.Instrument):
    """Counts how often any task was given the loop."""

    count: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - trio's signature
        self.count += 1


async def test_group_that_does_not_fit_is_refused_and_later_ones_are_not(
    autojump_clock: MockClock,
) -> None:
    """What does not fit is refused and not stored; what fits is taken without a restart."""
    async with store_on_full_disk() as (door, database):
        with pytest.raises(StoreUnavailable, match="full"):
            await door.ask(large())
        await door.ask(enqueue())
        await door.ask(Probe())
        assert database.connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)


async def test_claims_ride_with_the_first_group_that_succeeds(
    autojump_clock: MockClock,
) -> None:
    """A runner that waited through a full disk gets the run whose webhook found room again."""
    claimed: list[Run] = []

    async def claim(door: Door) -> None:
        claimed.append(await door.ask(Claim()))

    async with store_on_full_disk() as (door, _), trio.open_nursery() as nursery:
        nursery.start_soon(claim, door)
        with pytest.raises(StoreUnavailable):
            await door.ask(large())
        accepted = await door.ask(enqueue())
        await trio.sleep(60)
        assert [run.id for run in claimed] == [accepted.run_id]


@pytest.mark.parametrize("parked", [0, 1])
async def test_failing_store_rests_between_questions(parked: int, mock_clock: MockClock) -> None:
    """After a lost group the store sleeps until somebody asks; it does not spin."""
    steps = Steps()
    async with store_on_full_disk() as (door, _), trio.open_nursery() as nursery:
        for _ in range(parked):
            nursery.start_soon(door.ask, Claim())
        with pytest.raises(StoreUnavailable):
            await door.ask(large())
        mock_clock.jump(RETRY_SECONDS + 1)
        trio.lowlevel.add_instrument(steps)
        for _ in range(1000):
            await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()
    assert steps.count < 1000 + 50


def test_log_of_large_runs_stays_bounded(tmp_path: Path) -> None:
    """Few groups with large payloads do not grow the log until the disk is full of it."""
    database = Database.open(tmp_path / "runs.sqlite3")
    log = tmp_path / "runs.sqlite3-wal"
    while not database.checkpoint_is_due():
        assert log.stat().st_size <= LOG_BYTES_MAX
        store(database, attrs.evolve(enqueue(), payload='"' + "x" * 10_000_000 + '"'))
    database.checkpoint()
    store(database, enqueue())
    assert not database.checkpoint_is_due()
    assert log.stat().st_size <= LOG_KEPT_BYTES
    database.close()


def store(database: Database, question: Enqueue) -> None:
    with database.transaction() as db:
        answer(question, db, START)
