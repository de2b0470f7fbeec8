"""A pause is held by the runner for a few seconds, and by the store for as long as it takes."""

import pytest
import trio
from trio.testing import MockClock

from service.core.run import Status
from service.messages import Suspend
from service.tasks.context import Context
from service.tasks.registry import Registry
from tests.runners import at_work, message_of, result_of, seconds_of

DAY = 86_400.0


@pytest.fixture
def tasks() -> Registry:
    return Registry()


async def test_a_short_sleep_stays_in_the_runner(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A few seconds are waited for where the task is, and cost the store nothing."""

    @tasks.task("nap")
    async def nap(ctx: Context) -> str:
        await ctx.sleep(5)
        return "rested"

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("nap")
        assert not any(isinstance(each, Suspend) for each in runner.asked)
    assert (result_of(run), run.claim) == ("rested", 1)
    assert 5 <= seconds_of(run) < 6


async def test_a_long_sleep_gives_the_runner_back(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """While one run sleeps for a day its runner performs others; then it goes on."""
    begun: list[float] = []

    @tasks.task("night")
    async def night(ctx: Context) -> int:
        begun.append(trio.current_time())
        await ctx.sleep(DAY)
        await ctx.sleep(DAY)
        return ctx.attempt

    @tasks.task("other")
    async def other(ctx: Context) -> int:
        await trio.lowlevel.checkpoint()
        return ctx.attempt

    async with at_work(tasks, autojump_clock) as runner:
        sleeping = await runner.enqueue("night")
        await trio.sleep(2)
        asleep = await runner.look(sleeping)
        assert (asleep.status, asleep.attempt, asleep.result) == (Status.QUEUED, 0, None)
        await runner.perform("other")
        assert autojump_clock.current_time() < 60
        await trio.sleep(2 * DAY + 60)
        run = await runner.look(sleeping)
    assert (result_of(run), run.attempt, run.claim, run.crashes) == (1, 1, 3, 0)
    assert begun == pytest.approx([0, DAY, 2 * DAY], abs=40)


async def test_steps_before_a_sleep_are_not_done_again(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """What was done before the pause is remembered after it."""
    asked: list[str] = []

    async def ask(what: str) -> str:
        await trio.lowlevel.checkpoint()
        asked.append(what)
        return what

    @tasks.task("survey")
    async def survey(ctx: Context) -> list[str]:
        before = await ctx.step("before", ask, "before")
        await ctx.sleep(600)
        return [before, await ctx.step("after", ask, "after")]

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("survey")
    assert result_of(run) == asked == ["before", "after"]


async def test_no_except_of_the_task_keeps_it_awake(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A pause passes through whatever the task catches, and is no failure."""

    @tasks.task("stubborn")
    async def stubborn(ctx: Context) -> str:
        try:
            await ctx.sleep(600)
        except Exception:  # noqa: BLE001 - as an author might
            await trio.lowlevel.checkpoint()
            return "caught"
        return "rested"

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("stubborn", max_attempts=1)
    assert (result_of(run), run.attempt) == ("rested", 1)


async def test_a_failure_after_a_sleep_does_not_sleep_again(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A later attempt finds the pause over."""

    @tasks.task("unlucky")
    async def unlucky(ctx: Context) -> int:
        await ctx.sleep(DAY)
        if ctx.attempt == 1:
            raise ConnectionError
        return ctx.attempt

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("unlucky")
    assert result_of(run) == 2
    assert DAY <= seconds_of(run) < DAY + 60


async def test_sleeps_side_by_side_wake_when_they_would(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """The first to end wakes the run; the others keep the end that they began with."""
    woken: dict[str, float] = {}

    @tasks.task("choir")
    async def choir(ctx: Context) -> None:
        async def sing(name: str, seconds: float) -> None:
            await ctx.sleep(seconds, name=name)
            woken.setdefault(name, trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sing, "long", 7200)
            nursery.start_soon(sing, "short", 3600)

    async with at_work(tasks, autojump_clock) as runner:
        await runner.perform("choir")
    assert woken["short"] == pytest.approx(3600, abs=40)
    assert woken["long"] == pytest.approx(7200, abs=80)


async def test_a_shield_does_not_hold_the_runner(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """From within a shield a task cannot be cancelled: the pause leaves it by an exception."""

    @tasks.task("shielded")
    async def shielded(ctx: Context) -> int:
        with trio.CancelScope(shield=True):
            await ctx.sleep(DAY)
        return ctx.attempt

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("shielded")
    assert (result_of(run), run.claim) == (1, 2)


async def test_a_sleep_may_be_longer_than_its_step(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A step with little time left, or little at all, does not time out while it gives way."""

    async def rest(ctx: Context) -> int:
        await ctx.sleep(DAY)
        return ctx.attempt

    @tasks.task("brief")
    async def brief(ctx: Context) -> int:
        return await ctx.step("rest", rest, ctx, timeout=0.5)

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("brief", max_attempts=1)
    assert (result_of(run), run.claim) == (1, 2)


async def test_a_sleep_that_was_left_does_not_hide_a_timeout(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A task that goes on beside a cancelled pause, and then hangs, has failed."""

    @tasks.task("hang", timeout=60)
    async def hang(ctx: Context) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.sleep, DAY)
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("hang", max_attempts=1)
    assert message_of(run) == "task 'hang' timed out after 60 s"
    assert seconds_of(run) < DAY


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
async def test_a_sleep_is_a_number_of_seconds(
    seconds: float, tasks: Registry, autojump_clock: MockClock
) -> None:
    """What no clock could wait for is an error, not a hang."""

    @tasks.task("odd")
    async def odd(ctx: Context) -> None:
        await ctx.sleep(seconds)

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("odd", max_attempts=1)
    assert "is not a number of seconds from 0 to a year" in message_of(run)
