"""The store when the disk is full: who is refused, who waits, and what it costs to wait.

SQLite itself says that the disk is full, for a limit on the number of its pages.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from structlog.testing import capture_logs
from trio.testing import MockClock

from service.actors.cron import Cron, Plan
from service.actors.store import RETRY_SECONDS, run_store
from service.core.cronjob import CronJob
from service.core.errors import StoreUnavailable
from service.core.run import Run
from service.door import Door, Ticket, open_mailbox
from service.hop import inline
from service.messages import Claim, Enqueue, Probe
from service.observability.metrics import metering
from service.pulse import Pulse
from service.storage.database import LOG_BYTES_MAX, LOG_KEPT_BYTES, Database
from service.storage.queries import answer
from tests.stores import START, Clock, enqueue, store_behind_door

T = TypeVar("T")


def large() -> Enqueue:
    """Return a question that does not fit on a full disk."""
    return attrs.evolve(enqueue(), payload='"' + "x" * 100_000 + '"')


def counted(reader: InMemoryMetricReader, name: str) -> int | float:
    """Return the sum of a counter that has one point."""
    data = reader.get_metrics_data()
    assert data is not None
    [point] = (
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    )
    assert isinstance(point, NumberDataPoint)
    return point.value


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


async def test_each_lost_group_is_counted() -> None:
    """Whoever watches the metrics learns how many transactions failed, and no more."""
    reader = InMemoryMetricReader()
    with metering(MeterProvider([reader]).get_meter("test")):
        async with store_on_full_disk() as (door, _):
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await door.ask(large())
            await door.ask(enqueue())
    assert counted(reader, "store.groups.lost") == 2


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


async def test_cron_says_once_that_ticks_wait(autojump_clock: MockClock) -> None:
    """It asks each second, from its start on, and says so once for each time the store fails."""
    clock = Clock()
    full = [range(10, 1000), range(2000, 3000)]

    async def hop(function: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        if any(int(trio.current_time()) in times for times in full):
            raise StoreUnavailable("the disk is full")
        return function()

    job = CronJob(id="tick", schedule="* * * * * *", job_id="echo", overlap="allow")
    plan = Plan(job, job.compiled(default_timezone="UTC"), 1)
    with capture_logs() as lines:
        async with store_behind_door(now=clock, hop=hop) as door:
            await trio.sleep(20)
            cron = Cron(
                door=door.clone(),
                plans=[plan],
                pulse=Pulse(),
                now=clock,
                cancel_run=lambda _: None,
            )
            with trio.move_on_after(4000):
                await cron.keep_time()
    said = [line for line in lines if line["event"] == "ticks wait for the store"]
    assert [line["reason"] for line in said] == ["the disk is full"] * 2


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
