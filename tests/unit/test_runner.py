"""The runner, over a real store: what it makes of each end that an attempt can have."""

from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from service.actors import runner as runner_module
from service.core.errors import StoreUnavailable
from service.core.results import Permanent, RetryAfter, error
from service.core.run import Status
from service.messages import CancelRun, Finish, Release, Retry
from service.observability.recording import Record, Recorder
from service.observability.traces import tracer_is
from service.tasks.context import Context
from service.tasks.registry import Registry
from service.yard import PATIENCE_SECONDS
from tests.runners import SETTINGS, at_work, message_of, result_of, seconds_of
from tests.stores import START, Clock, all_runs, store_behind_door

T = TypeVar("T")


@pytest.fixture
def tasks() -> Registry:
    return Registry()


async def test_failed_attempts_are_retried_ever_later(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """Each wait is about twice the one before, and is in the store: no runner holds it."""
    begun: list[float] = []

    @tasks.task("flaky", retry_base_seconds=100)
    async def flaky(ctx: Context) -> int:
        await trio.lowlevel.checkpoint()
        begun.append(trio.current_time())
        if ctx.attempt <= 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return ctx.attempt

    async with at_work(tasks, autojump_clock) as runner:
        run_id = await runner.enqueue("flaky")
        await trio.sleep(10)
        waiting = await runner.look(run_id)
        assert (waiting.status, waiting.attempt) == (Status.QUEUED, 1)
        assert waiting.due_at > START + timedelta(seconds=10)
        assert message_of(waiting) == "ValueError: attempt 1"
        run = await runner.end_of(run_id)
    assert (result_of(run), run.attempt, run.claim) == (4, 4, 4)
    waits = [later - earlier for earlier, later in pairwise(begun)]
    assert 50 <= waits[0] <= 150
    assert waits[0] < waits[1] < waits[2]


async def test_run_out_of_attempts_ends_as_error(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """The last attempt's message is the run's."""

    @tasks.task("failing")
    async def failing(ctx: Context) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError(f"attempt {ctx.attempt}")

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("failing", max_attempts=3)
    assert (run.status, run.attempt) == (Status.ERROR, 3)
    assert message_of(run) == "ValueError: attempt 3"


async def test_retry_after_is_obeyed(tasks: Registry, autojump_clock: MockClock) -> None:
    """The wait that a task asks for is the wait it gets."""

    @tasks.task("limited")
    async def limited(ctx: Context) -> None:
        await trio.lowlevel.checkpoint()
        if ctx.attempt == 1:
            raise RetryAfter(3600, "come again")

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("limited")
    assert (run.status, run.attempt) == (Status.OK, 2)
    assert 3600 <= seconds_of(run) < 3660


@pytest.mark.parametrize("raised", [True, False])
async def test_verdicts_are_not_retried(
    tasks: Registry, autojump_clock: MockClock, *, raised: bool
) -> None:
    """Permanent, and an error that is returned, end the run at the first attempt."""

    @tasks.task("final")
    async def final(ctx: Context) -> object:
        await trio.lowlevel.checkpoint()
        if raised:
            raise Permanent("no use")
        return error("no use")

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("final")
    assert (run.status, run.attempt, message_of(run)) == (Status.ERROR, 1, "no use")


async def test_timeout_is_a_failure(tasks: Registry, autojump_clock: MockClock) -> None:
    """It is retried like any other, and the message names the task and the time."""

    @tasks.task("slow", timeout=30)
    async def slow(ctx: Context) -> str:
        if ctx.attempt == 1:
            await trio.sleep_forever()
        return "quick"

    async with at_work(tasks, autojump_clock) as runner:
        run_id = await runner.enqueue("slow")
        await trio.sleep(30.1)
        assert message_of(await runner.look(run_id)) == "task 'slow' timed out after 30 s"
        assert result_of(await runner.end_of(run_id)) == "quick"


async def test_task_that_ignores_its_timeout_does_not_keep_its_runner(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """It is left behind, the message says so, and the next run has its turn."""
    wake = trio.Event()

    @tasks.task("deaf", timeout=30, retries=0)
    async def deaf(ctx: Context) -> None:
        with trio.CancelScope(shield=True):
            await wake.wait()

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("deaf", max_attempts=1)
        assert message_of(run) == "task 'deaf' timed out after 30 s, and goes on in spite of it"
        again = await runner.enqueue("deaf", max_attempts=1)
        await trio.sleep(1)
        assert (await runner.look(again)).status is Status.RUNNING
        wake.set()


LEFT_OPEN = "the task left a nursery or a cancel scope open"


async def holding_a_nursery() -> AsyncGenerator[int]:  # noqa: ASYNC900 - as below
    """Yield from within a nursery, which only `aclosing` leaves in time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield 1  # noqa: ASYNC101, ASYNC119 - the fault that is the subject


async def leave_open(what: str) -> None:
    """End with a nursery or a cancel scope still open."""
    if what == "generator":
        async for _ in holding_a_nursery():
            return
    elif what == "nursery":
        await trio.open_nursery().__aenter__()
    else:
        scope = trio.CancelScope(shield=what == "shield")
        scope.__enter__()
        if what == "cancelled":
            scope.cancel()
            await trio.lowlevel.checkpoint()


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("what", ["generator", "nursery", "scope", "shield", "cancelled"])
async def test_what_a_task_leaves_open_fails_its_run_alone(
    tasks: Registry, autojump_clock: MockClock, what: str
) -> None:
    """The failure says so, in the log and in the span too; no run after it is the worse for it."""

    @tasks.task("leaving")
    async def leaving(ctx: Context) -> None:
        await leave_open(what)

    @tasks.task("tidy")
    async def tidy(ctx: Context) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            nursery.start_soon(trio.sleep, 2)
        return ctx.attempt

    records: list[Record] = []
    with capture_logs() as lines, tracer_is(Recorder(DEFAULT_ON, records.append)):
        async with at_work(tasks, autojump_clock) as runner:
            for _ in range(2):
                failed = await runner.perform("leaving")
                assert (failed.status, failed.attempt) == (Status.ERROR, 1)
                assert message_of(failed).startswith(LEFT_OPEN)
                assert result_of(await runner.perform("tidy")) == 1
    told = [line for line in lines if line["event"] == "run failed"]
    assert [str(line["error"]).startswith(LEFT_OPEN) for line in told] == [True, True]
    spans = [record for record in records if record.name == "attempt leaving"]
    assert [record.attributes["outcome"] for record in spans] == ["error", "error"]


async def test_task_that_fails_with_a_nursery_open_says_why_it_failed(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """What it left open is the consequence: the failure is its own, and retried like any other."""

    @tasks.task("failing")
    async def failing(ctx: Context) -> int:
        if ctx.attempt == 2:
            return ctx.attempt
        await leave_open("nursery")
        raise ValueError("no")

    async with at_work(tasks, autojump_clock) as runner:
        run_id = await runner.enqueue("failing")
        await trio.sleep(0.1)
        assert message_of(await runner.look(run_id)) == "ValueError: no"
        assert result_of(await runner.end_of(run_id)) == 2


async def test_fault_of_the_service_fails_the_run_alone(
    tasks: Registry, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is retried like any other failure, the log has its traceback, and the runner goes on."""

    @tasks.task("any")
    async def any_task(ctx: Context) -> int:
        return ctx.attempt

    def broken(text: str) -> None:
        monkeypatch.undo()
        raise RecursionError(text)

    monkeypatch.setattr(runner_module, "decode", broken)
    with capture_logs() as lines:
        async with at_work(tasks, autojump_clock) as runner:
            run_id = await runner.enqueue("any")
            await trio.sleep(0.1)
            failed = await runner.look(run_id)
            assert failed.status is Status.QUEUED
            assert "the service failed at this run, see its log: RecursionError" in str(
                failed.result
            )
            assert result_of(await runner.end_of(run_id)) == 2
    [line] = [line for line in lines if line["event"] == "attempt failed, to be retried"]
    assert isinstance(line["exc_info"], RecursionError)


async def test_unknown_job_ends_as_error(tasks: Registry, autojump_clock: MockClock) -> None:
    """A run whose task is gone, as after a release, says so at once."""
    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("gone")
    assert (run.status, run.attempt) == (Status.ERROR, 1)
    assert message_of(run) == "jobId: no task 'gone' is registered"


async def test_result_is_kept_until_the_store_takes_it(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """While nothing can be committed the task is not done again, and its result not lost."""
    performed: list[int] = []

    async def full(function: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        if performed and trio.current_time() < 600:
            raise StoreUnavailable("the disk is full")
        return function()

    @tasks.task("once")
    async def once(ctx: Context) -> str:
        await trio.lowlevel.checkpoint()
        performed.append(ctx.attempt)
        return "kept"

    async with at_work(tasks, autojump_clock, hop=full) as runner:
        run_id = await runner.enqueue("once")
        await trio.sleep(700)
        run = await runner.look(run_id)
        told = [question for question in runner.asked if isinstance(question, Finish)]
    assert (result_of(run), performed) == ("kept", [1])
    assert len(told) > 100
    assert len(set(told)) == 1


async def test_no_run_begins_with_a_runner_that_still_tells_of_the_last(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """While the store refuses a result, though it would give out a run, the next one waits."""

    async def full(function: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        asked = function.args[2] if isinstance(function, partial) else ()
        if trio.current_time() < 600 and any(isinstance(each, Finish) for each in asked):
            raise StoreUnavailable("the disk is full")
        return function()

    @tasks.task("short")
    async def short(ctx: Context) -> int:
        await trio.sleep(1)
        return ctx.attempt

    async with at_work(tasks, autojump_clock, hop=full) as runner:
        first, second = [await runner.enqueue("short") for _ in range(2)]
        await trio.sleep(300)
        assert (await runner.look(first)).status is Status.RUNNING
        assert (await runner.look(second)).status is Status.QUEUED
        assert result_of(await runner.end_of(second)) == 1


async def test_cancelled_run_frees_its_runner(tasks: Registry, autojump_clock: MockClock) -> None:
    """The store was told first; the runner's last word then changes nothing."""
    ended: list[str] = []

    @tasks.task("long")
    async def long(ctx: Context) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(ctx.run_id)

    async with at_work(tasks, autojump_clock) as runner:
        first, second = [await runner.enqueue("long") for _ in range(2)]
        await trio.sleep(1)
        await runner.door.ask(CancelRun(first))
        runner.pool.cancel(first)
        await trio.sleep(1)
        assert ended == [first]
        assert (await runner.look(first)).status is Status.CANCELLED
        assert (await runner.look(second)).status is Status.RUNNING
        await runner.door.ask(CancelRun(second))
        runner.pool.cancel(second)


@pytest.mark.parametrize(("heeds", "tidy"), [(True, True), (False, True), (True, False)])
async def test_interrupted_attempt_is_given_back(
    tasks: Registry, autojump_clock: MockClock, tmp_path: Path, *, heeds: bool, tidy: bool
) -> None:
    """A stop is not a failure, whether or not the task heeds it: the run is queued as it was."""
    wake = trio.Event()

    @tasks.task("long")
    async def long(ctx: Context) -> None:
        if not tidy:
            await leave_open("nursery")
        with trio.CancelScope(shield=not heeds):
            await wake.wait()

    async def wake_late() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
            wake.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake_late)
        with trio.move_on_after(10):
            async with at_work(tasks, autojump_clock, path=tmp_path / "runs") as runner:
                await runner.enqueue("long")
                await trio.sleep_forever()
        words = [word for word in runner.asked if isinstance(word, Finish | Retry | Release)]
        assert [type(word) for word in words] == [Release]
    async with store_behind_door(tmp_path / "runs", now=Clock()) as door:
        (run,) = (await all_runs(door)).values()
    assert (run.status, run.attempt, run.crashes, run.result) == (Status.QUEUED, 0, 0, None)


async def test_deaf_task_delays_the_last_word_by_no_more_than_the_patience(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """So a stop, which waits for last words, is bounded whatever tasks do."""
    wake = trio.Event()

    @tasks.task("deaf")
    async def deaf(ctx: Context) -> None:
        with trio.CancelScope(shield=True):
            await wake.wait()

    async with at_work(tasks, autojump_clock) as runner:
        run_id = await runner.enqueue("deaf")
        await trio.sleep(1)
        runner.pool.stop_hiring()
        runner.pool.cancel(run_id)
        await trio.sleep(PATIENCE_SECONDS)
        await wait_all_tasks_blocked()
        assert (await runner.look(run_id)).status is Status.QUEUED
        assert autojump_clock.current_time() == pytest.approx(1 + PATIENCE_SECONDS)
        wake.set()


async def test_stray_changes_nothing_of_a_later_attempt_at_its_run(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """What a task left behind says, and that it ends, is nothing to who does its run again."""
    wake = trio.Event()
    interrupted: list[int] = []

    @tasks.task("deaf")
    async def deaf(ctx: Context) -> None:
        if ctx.attempt == 1:
            with trio.CancelScope(shield=True):
                await wake.wait()
            ctx.progress(1)
            return
        ctx.progress(2)
        try:
            await trio.sleep_forever()
        finally:
            interrupted.append(ctx.attempt)

    settings = attrs.evolve(SETTINGS, task_timeout_seconds=100)
    async with at_work(tasks, autojump_clock, settings=settings) as runner:
        run_id = await runner.enqueue("deaf")
        await trio.sleep(110)
        second = await runner.look(run_id)
        wake.set()
        await wait_all_tasks_blocked()
        headway = runner.pool.headway(run_id)
        assert headway is not None
        assert (headway.done, second.attempt) == (2, 2)
        assert await runner.look(run_id) == second
        await runner.door.ask(CancelRun(run_id))
        runner.pool.cancel(run_id)
        await wait_all_tasks_blocked()
        assert interrupted == [2]
        assert (await runner.look(run_id)).status is Status.CANCELLED


async def test_who_stops_hiring_finishes_what_is_at_hand(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """The run at hand ends well; the next one waits for the next start."""

    @tasks.task("long")
    async def long(ctx: Context) -> str:
        await trio.sleep(60)
        return ctx.run_id

    async with at_work(tasks, autojump_clock) as runner:
        first, second = [await runner.enqueue("long") for _ in range(2)]
        await trio.sleep(1)
        runner.pool.stop_hiring()
        assert result_of(await runner.end_of(first)) == first
        await trio.sleep(600)
        assert (await runner.look(second)).status is Status.QUEUED


async def test_settings_decide_where_a_task_does_not(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """Timeouts and waits come from the task, or else from the settings."""

    @tasks.task("slow")
    async def slow(ctx: Context) -> None:
        await trio.sleep_forever()

    settings = attrs.evolve(SETTINGS, task_timeout_seconds=7, retry_base_seconds=1000)
    async with at_work(tasks, autojump_clock, settings=settings) as runner:
        run_id = await runner.enqueue("slow")
        await trio.sleep(8)
        run = await runner.look(run_id)
    assert message_of(run) == "task 'slow' timed out after 7 s"
    assert run.due_at > START + timedelta(seconds=500)
