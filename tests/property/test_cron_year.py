"""A year of cron against the real actor and the real store, on a virtual clock."""

import random
from datetime import timedelta
from itertools import pairwise, product
from typing import Final, get_args

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from service.actors.cron import Cron, Plan
from service.core.audit import audit
from service.core.cronjob import CatchUp, CronJob, Overlap
from service.core.run import Status
from service.core.schedule import compile_schedule
from service.door import Door
from service.messages import (
    AdoptCronJobs,
    Claim,
    CronMeaning,
    Finish,
    ListCronDefinitions,
    ReadTicks,
    Recover,
)
from service.pulse import Pulse
from tests.stores import Clock, all_runs, store_behind_door

YEAR: Final = timedelta(days=365)
SCHEDULES: Final = ("0 */6 * * *", "30 2 * * *", "15 1,13 * * mon-fri")
ZONES: Final = ("Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "UTC")
JOBS: Final = [
    CronJob(
        id=f"{catch_up}-{overlap}",
        schedule=SCHEDULES[number % len(SCHEDULES)],
        timezone=ZONES[number % len(ZONES)],
        job_id="echo",
        catch_up=catch_up,
        overlap=overlap,
        jitter=number % 2 * 60,
    )
    for number, (catch_up, overlap) in enumerate(product(get_args(CatchUp), get_args(Overlap)))
]


def plans() -> list[Plan]:
    return [Plan(job, job.compiled(default_timezone="UTC"), 1) for job in JOBS]


async def work(door: Door, rng: random.Random) -> None:
    """Perform runs as a runner does, for anything between no time and a day."""
    while True:
        run = await door.ask(Claim())
        await trio.sleep(rng.choice([0, 0, 60, 3600, 86_400]) * rng.random())
        with trio.CancelScope(shield=True):
            await door.ask(Finish(run.id, run.claim, Status.OK, "{}"))


async def live(door: Door, clock: Clock, rng: random.Random) -> None:
    """Run cron and some runners for up to a month."""
    async with trio.open_nursery() as nursery:
        cron = Cron(
            door=door.clone(),
            plans=plans(),
            pulse=Pulse(),
            now=clock,
            cancel_run=lambda _: None,
            longest_sleep_seconds=3600,
        )
        await nursery.start(cron.keep_time)
        for _ in range(4):
            nursery.start_soon(work, door, rng)
        for _ in range(rng.randrange(5)):
            await trio.sleep(rng.random() * 6 * 86_400)
            clock.offset += timedelta(
                seconds=rng.choice([-86_400, -3600, -10, 0, 10, 3600, 86_400]) * rng.random()
            )
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(2))
async def test_year_of_restarts_and_clock_steps_is_accounted_for(
    seed: int, autojump_clock: MockClock
) -> None:
    """For all policies, each tick has exactly one record, and each tick that ran has its run."""
    rng = random.Random(seed)
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        while trio.current_time() < YEAR.total_seconds():
            await live(door, clock, rng)
            while (await door.ask(Recover(100))).requeued:
                pass
            await trio.sleep(rng.choice([0, 60, 86_400 * 2]) * rng.random())
        everything = (await all_runs(door)).values()
        for definition in await door.ask(ListCronDefinitions()):
            assert definition.current
            records = await door.ask(
                ReadTicks(
                    cron_id=definition.id,
                    after=definition.since,
                    until=definition.watermark,
                    limit=100_000,
                )
            )
            schedule = compile_schedule(definition.schedule, definition.timezone)
            assert not list(audit(schedule, definition.since, definition.watermark, records))
            ran = {record.first for record in records if record.outcome == "ran"}
            runs = [run.tick for run in everything if run.cron_id == definition.id]
            assert len(runs) == len(set(runs))
            assert set(runs) == ran
            assert len(ran) > 50


async def test_changed_job_begins_anew(autojump_clock: MockClock) -> None:
    """A change takes effect from the start on; what it meant till then is accounted for."""
    clock = Clock()
    meanings = [("* * * * *", "UTC"), ("*/5 * * * *", "UTC"), ("*/5 * * * *", "Asia/Kathmandu")]
    async with store_behind_door(now=clock) as door:
        for schedule, timezone in meanings:
            job = CronJob(id="job", schedule=schedule, timezone=timezone, job_id="echo")
            await _keep_time(door, clock, [job])
            await trio.sleep(3 * 3600)  # nobody keeps time
        await _keep_time(door, clock, [])
        definitions = await door.ask(ListCronDefinitions())
        assert [(each.schedule, each.timezone) for each in definitions] == meanings
        assert not any(each.current for each in definitions)
        assert all(old.watermark == new.since for old, new in pairwise(definitions))
        for each in definitions:
            records = await door.ask(
                ReadTicks(cron_id="job", after=each.since, until=each.watermark, limit=1000)
            )
            compiled = compile_schedule(each.schedule, each.timezone)
            assert not list(audit(compiled, each.since, each.watermark, records))
            assert [record.outcome for record in records if record.count > 1] == ["missed"]
            assert each.watermark - each.since == timedelta(hours=4)


async def test_a_meaning_that_is_no_longer_understood_ends_too(autojump_clock: MockClock) -> None:
    """A zone that tzdata has lost keeps no job from beginning anew."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        await door.ask(AdoptCronJobs({"job": CronMeaning("@daily", "Mars/Olympus")}, clock(), {}))
        await trio.sleep(60)
        await _keep_time(door, clock, [CronJob(id="job", schedule="@hourly", job_id="echo")])
        old, new = await door.ask(ListCronDefinitions())
    assert (old.timezone, new.timezone, new.current) == ("Mars/Olympus", "UTC", True)


async def test_a_clock_that_was_ahead_is_told_once(autojump_clock: MockClock) -> None:
    """A step back by a day makes one line, however many jobs wait for the clock to catch up."""
    clock = Clock()
    jobs = [
        CronJob(id=f"job-{number}", schedule="* * * * *", job_id="echo") for number in range(20)
    ]
    async with store_behind_door(now=clock) as door:
        with capture_logs() as lines:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_time, door, clock, jobs)
                await trio.sleep(1000)
                clock.offset -= timedelta(days=1)
            await _keep_time(door, clock, jobs)
    told = [line for line in lines if line["event"] == "no ticks until the clock catches up"]
    assert [round(line["seconds"], -4) for line in told] == [90_000, 80_000]


async def test_a_catch_up_of_many_jobs_is_committed_in_parts(autojump_clock: MockClock) -> None:
    """However many jobs catch up at once, no transaction is much larger than it must be."""
    clock = Clock()
    jobs = [
        CronJob(
            id=f"job-{number}",
            schedule="* * * * *",
            job_id="echo",
            catch_up="all",
            catch_up_max=600,
            overlap="allow",
        )
        for number in range(7)
    ]
    async with store_behind_door(now=clock) as door:
        await _keep_time(door, clock, jobs)
        await trio.sleep(2 * 86_400)
        with capture_logs() as lines:
            await _keep_time(door, clock, jobs)
    parts = [line["runs"] for line in lines if line["event"] == "ticks run late"]
    assert parts == [1200, 1200, 1200, 600]


async def _keep_time(door: Door, clock: Clock, jobs: list[CronJob]) -> None:
    """Run cron for an hour with these jobs."""
    cron = Cron(
        door=door.clone(),
        plans=[Plan(job, job.compiled(default_timezone="UTC"), 1) for job in jobs],
        pulse=Pulse(),
        now=clock,
        cancel_run=lambda _: None,
    )
    with trio.move_on_after(3600):
        await cron.keep_time()
