"""What a task's author may ask of the runners, and how the store keeps to it."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock

from service.actors.store import LONGEST_SLEEP_SECONDS
from service.core.errors import ConfigError
from service.core.limits import Limits, Rate
from service.core.run import Run, Status
from service.door import Door
from service.hop import inline
from service.messages import (
    CancelRun,
    Claim,
    Finish,
    PauseJobs,
    Recover,
    Release,
    ResumeJobs,
    Retry,
    Suspend,
)
from service.storage import queries
from service.storage.database import Database
from service.tasks.context import Context
from service.tasks.registry import Registry
from tests.stores import START, Clock, enqueue, store_behind_door

T = TypeVar("T")


async def fill(door: Door, job_id: str, count: int) -> list[str]:
    """Put runs of a job in the queue and return their ids in order."""
    return [(await door.ask(enqueue(job_id))).run_id for _ in range(count)]


async def claimed(door: Door, seconds: float = 86_400) -> Run | None:
    """Return the run that an idle runner gets, or None if it gets none in time."""
    with trio.move_on_after(seconds):
        return await door.ask(Claim())
    return None


async def finish(door: Door, run: Run) -> None:
    assert await door.ask(Finish(run.id, run.claim, Status.OK, "null"))


async def test_excess_runs_wait_in_order(autojump_clock: MockClock) -> None:
    """Two of five may run: the third begins when one of them has ended, and in its turn."""
    async with store_behind_door(now=Clock(), limits={"a": Limits(max_concurrency=2)}) as door:
        ids = await fill(door, "a", 5)
        running = [await door.ask(Claim()), await door.ask(Claim())]
        assert [run.id for run in running] == ids[:2]
        assert await claimed(door) is None
        await finish(door, running[1])
        third = await door.ask(Claim())
        assert third.id == ids[2]
        assert await claimed(door) is None


async def test_a_runner_that_waits_gets_the_next_at_once(autojump_clock: MockClock) -> None:
    """The end of a run opens the line for a claim that is parked, without any delay."""
    async with store_behind_door(now=Clock(), limits={"a": Limits(max_concurrency=1)}) as door:
        ids = await fill(door, "a", 2)
        first = await door.ask(Claim())
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def runner() -> None:
                run = await door.ask(Claim())
                assert run.id == ids[1]

            await trio.testing.wait_all_tasks_blocked()
            before = trio.current_time()
            await finish(door, first)
        assert trio.current_time() == before


@pytest.mark.parametrize("leaving", ["retry", "release", "suspend", "cancel", "crash"])
async def test_whatever_ends_an_attempt_makes_room(leaving: str, autojump_clock: MockClock) -> None:
    """A run that waits for its retry, its sleep or a new start is not at work."""
    clock = Clock()
    async with store_behind_door(now=clock, limits={"a": Limits(max_concurrency=1)}) as door:
        ids = await fill(door, "a", 2)
        run = await door.ask(Claim())
        later = clock() + timedelta(hours=1)
        match leaving:
            case "retry":
                await door.ask(Retry(run.id, run.claim, later, "null"))
            case "suspend":
                await door.ask(Suspend(run.id, run.claim, later))
            case "release":
                await door.ask(Release(run.id, run.claim))
            case "cancel":
                await door.ask(CancelRun(run.id))
            case _:
                await door.ask(Recover(10))
        following = await door.ask(Claim())
        assert following.id == ids[0 if leaving in {"release", "crash"} else 1]
        assert await claimed(door, 60) is None


async def test_a_job_that_may_not_begin_holds_nobody_up(autojump_clock: MockClock) -> None:
    """Runs behind a full job are found, however many of its own wait before them."""
    async with store_behind_door(now=Clock(), limits={"a": Limits(max_concurrency=1)}) as door:
        await fill(door, "a", 300)
        [other] = await fill(door, "b", 1)
        got = [await door.ask(Claim()), await door.ask(Claim())]
        assert {run.job_id for run in got} == {"a", "b"}
        assert other in {run.id for run in got}


async def test_a_flooded_job_gets_no_more_than_its_share(autojump_clock: MockClock) -> None:
    """Of eight runners, two jobs that want them all get four each, whoever came first."""
    async with store_behind_door(now=Clock()) as door:
        await fill(door, "flood", 100)
        await fill(door, "late", 10)
        got = [await door.ask(Claim()) for _ in range(8)]
        assert Counter(run.job_id for run in got) == {"flood": 4, "late": 4}


async def test_a_single_runner_goes_round(autojump_clock: MockClock) -> None:
    """With nothing else at work, the job whose last turn is the longest ago is next."""
    async with store_behind_door(now=Clock()) as door:
        for job_id in "abc":
            await fill(door, job_id, 3)
        order = ""
        for _ in range(9):
            run = await door.ask(Claim())
            order += run.job_id
            await finish(door, run)
        assert order == "abcabcabc"


async def test_a_job_that_is_alone_gets_every_runner(autojump_clock: MockClock) -> None:
    """Nothing is kept free for jobs that have nothing to do."""
    async with store_behind_door(now=Clock()) as door:
        ids = await fill(door, "a", 8)
        assert [(await door.ask(Claim())).id for _ in range(8)] == ids


async def test_higher_priority_goes_first(autojump_clock: MockClock) -> None:
    """What is urgent passes what is due longer, and what can wait waits for both."""
    limits = {"urgent": Limits(priority=10), "idle": Limits(priority=-1)}
    async with store_behind_door(now=Clock(), limits=limits) as door:
        for job_id in ("idle", "plain", "urgent"):
            await fill(door, job_id, 2)
            await trio.sleep(1)
        got = [(await door.ask(Claim())).job_id for _ in range(6)]
        assert got == ["urgent", "urgent", "plain", "plain", "idle", "idle"]


async def test_a_rate_holds_in_every_window(autojump_clock: MockClock) -> None:
    """Three in ten seconds: wherever the window is laid, no more begin in it, and none are late."""
    limits = {"a": Limits(rate=Rate(3, 10))}
    async with store_behind_door(now=Clock(), limits=limits) as door:
        await fill(door, "a", 9)
        begun = []
        for wait in (0, 1, 5, 0, 0, 0, 0, 0, 0):
            await trio.sleep(wait)
            run = await door.ask(Claim())
            await finish(door, run)
            begun.append(trio.current_time())
        assert begun == [0, 1, 6, 10, 11, 16, 20, 21, 26]


@pytest.mark.parametrize("limits", [Limits(max_concurrency=4), Limits(rate=Rate(4, 60))])
def test_a_limit_holds_for_runners_that_come_together(limits: Limits) -> None:
    """Eight that are free at once get what is left, not eight."""
    with closing(Database.open(None)) as database, database.transaction() as db:
        queue = queries.Queue({"a": limits})
        for _ in range(20):
            queries.answer(enqueue("a"), db, START)
        assert len(queue.claim(db, START, 1)) == 1
        assert len(queue.claim(db, START, 8)) == 3
        assert not queue.claim(db, START, 8)


@pytest.mark.parametrize(("seconds", "begin"), [(59, 0), (60, 2)])
def test_a_rate_opens_again_for_as_many_as_are_old_enough(seconds: int, begin: int) -> None:
    """When two of three starts leave the window, two more may begin, and not a moment sooner."""
    with closing(Database.open(None)) as database, database.transaction() as db:
        queue = queries.Queue({"a": Limits(rate=Rate(3, 60))})
        for _ in range(20):
            queries.answer(enqueue("a"), db, START)
        assert len(queue.claim(db, START, 2)) == 2
        assert len(queue.claim(db, START + timedelta(seconds=30), 2)) == 1
        now = START + timedelta(seconds=seconds)
        assert len(queue.claim(db, now, 8)) == begin


async def test_a_rate_holds_across_a_restart(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Starts are remembered on disk, so a restart allows no second burst."""
    path = tmp_path / "runs.sqlite3"
    limits = {"a": Limits(rate=Rate(2, 60))}
    async with store_behind_door(path, now=Clock(), limits=limits) as door:
        await fill(door, "a", 3)
        for _ in range(2):
            await finish(door, await door.ask(Claim()))
    async with store_behind_door(path, now=Clock(), limits=limits) as door:
        before = trio.current_time()
        await door.ask(Claim())
        assert trio.current_time() - before == 60


async def test_a_rate_survives_a_clock_that_is_set_back(autojump_clock: MockClock) -> None:
    """Starts that lie in the future hold nobody up until the clock has caught up."""
    clock = Clock()
    async with store_behind_door(now=clock, limits={"a": Limits(rate=Rate(1, 60))}) as door:
        await fill(door, "a", 1)
        await door.ask(Claim())
        clock.offset -= timedelta(hours=3)
        await fill(door, "a", 2)
        await door.ask(Claim())
        before = trio.current_time()
        await door.ask(Claim())
        assert trio.current_time() - before == 60


async def test_a_pause_and_a_limit_go_together(autojump_clock: MockClock) -> None:
    """A resumed job begins as many as it may."""
    async with store_behind_door(now=Clock(), limits={"a": Limits(max_concurrency=1)}) as door:
        await fill(door, "a", 2)
        await door.ask(PauseJobs("a"))
        assert await claimed(door) is None
        await door.ask(ResumeJobs("a"))
        assert await claimed(door) is not None
        assert await claimed(door) is None


@pytest.mark.parametrize("limits", [Limits(max_concurrency=1), Limits(rate=Rate(1, 86_400))])
async def test_a_store_with_nothing_to_give_is_asleep(
    limits: Limits, autojump_clock: MockClock
) -> None:
    """Runs that a limit holds back wake nobody: the store waits, and does not go in circles."""
    hops = 0

    async def counted(function: Callable[[], T], /) -> T:
        nonlocal hops
        hops += 1
        assert hops < 100
        return await inline(function)

    async with store_behind_door(now=Clock(), hop=counted, limits={"a": limits}) as door:
        await fill(door, "a", 5)
        await door.ask(Claim())
        before = hops
        assert await claimed(door, 600) is None
        assert hops - before <= 600 / LONGEST_SLEEP_SECONDS + 1


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"max_concurrency": 0}, "max_concurrency: 0 is not a whole number from 1 to 1,000,000"),
        ({"max_concurrency": True}, "max_concurrency: True is not a whole number"),
        ({"max_concurrency": 1.5}, "max_concurrency: 1.5 is not a whole number"),
        ({"priority": "high"}, "priority: 'high' is not a whole number from -1,000 to 1,000"),
        ({"priority": None}, "priority: None is not a whole number"),
        ({"rate": "30 / minute"}, """rate: '30 / minute' is not a rate such as "30/minute": """),
        ({"rate": "0/minute"}, "a count from 1 to 10,000, per second, minute, hour, day"),
        ({"rate": "10001/day"}, "rate: '10001/day' is not a rate"),
        ({"rate": "5/week"}, "rate: '5/week' is not a rate"),
        ({"rate": "٣/minute"}, "rate: '٣/minute' is not a rate"),
        ({"rate": 30}, "rate: 30 is not a rate"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(options: dict[str, object], fault: str) -> None:
    """The line names the place, the option, what it held and what it may hold."""

    def function(ctx: Context) -> None:
        raise NotImplementedError(ctx)

    with pytest.raises(ConfigError) as refused:
        Registry().task("a", **options)(function)  # type: ignore[arg-type]
    assert fault in str(refused.value)
    assert __file__ in str(refused.value)


def test_limits_are_read_as_they_are_written() -> None:
    """What `service check` prints of a rate is what its author wrote."""
    registry = Registry()

    @registry.task("a", max_concurrency=2, priority=-5, rate="30/minute")
    def function(ctx: Context) -> None:
        raise NotImplementedError(ctx)

    [task] = registry
    assert task.limits == Limits(max_concurrency=2, priority=-5, rate=Rate(30, 60))
    assert str(task.limits) == "at most 2, priority -5, 30/minute"
    assert str(Limits()) == "none"
