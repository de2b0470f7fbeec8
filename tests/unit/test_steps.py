"""A step is done once for all attempts of its run, within its time, and says which it is."""

import math
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import trio
from opentelemetry.sdk.trace.sampling import DEFAULT_ON
from trio.testing import MockClock, wait_all_tasks_blocked

from service.core.results import Permanent, RetryAfter
from service.core.run import Trigger
from service.core.wire import Json
from service.messages import Claim, Finish, Question, ReadSteps, RecordStep, Recover, Release
from service.observability.logs import get_logger
from service.observability.recording import Record, Recorder
from service.observability.traces import tracer_is
from service.settings import Settings
from service.tasks.context import Context
from service.tasks.registry import Registry
from service.tasks.steps import RetryOn, StepTimeout
from service.tasks.workspace import STEP_MAX_BYTES, STEPS_MAX, Workspace
from tests.runners import at_work, message_of, result_of
from tests.stores import Clock, enqueue, store_behind_door


@pytest.fixture
def tasks() -> Registry:
    return Registry()


class Calls:
    """A function of a step that counts how often it is called."""

    def __init__(self) -> None:
        self.made: list[str] = []

    async def make(self, name: str) -> str:
        await trio.lowlevel.checkpoint()
        self.made.append(name)
        return f"{name} done"


async def test_a_finished_step_is_not_done_again(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """After a failure the next attempt gets what was recorded, and does the rest."""
    calls = Calls()

    @tasks.task("summary")
    async def summary(ctx: Context) -> list[str]:
        first = await ctx.step("first", calls.make, "first")
        if ctx.attempt < 3:
            raise ConnectionError
        return [first, await ctx.step("second", calls.make, "second")]

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("summary")
    assert result_of(run) == ["first done", "second done"]
    assert run.attempt == 3
    assert calls.made == ["first", "second"]


async def test_a_step_survives_a_crash(tmp_path: Path) -> None:
    """What was recorded by a process that died is there for the next one."""
    path = tmp_path / "runs"
    async with store_behind_door(path, now=Clock()) as door:
        await door.ask(enqueue())
        run = await door.ask(Claim())
        assert await door.ask(RecordStep(run.id, run.claim, "first", '["x"]'))
    async with store_behind_door(path, now=Clock()) as door:
        await door.ask(Recover(10))
        assert (await door.ask(Claim())).id == run.id
        assert await door.ask(ReadSteps(run.id)) == {"first": '["x"]'}


async def test_only_who_holds_the_run_records() -> None:
    """A runner whose run was taken away changes nothing, and is told so."""
    async with store_behind_door(now=Clock()) as door:
        await door.ask(enqueue())
        run = await door.ask(Claim())
        assert await door.ask(RecordStep(run.id, run.claim, "a", "1"))
        assert await door.ask(RecordStep(run.id, run.claim, "a", "1"))
        await door.ask(Release(run.id, run.claim))
        assert not await door.ask(RecordStep(run.id, run.claim, "a", "2"))
        again = await door.ask(Claim())
        assert not await door.ask(RecordStep(run.id, run.claim, "a", "2"))
        assert await door.ask(RecordStep(run.id, again.claim, "b", "3"))
        assert await door.ask(ReadSteps(run.id)) == {"a": "1", "b": "3"}


async def test_a_stop_does_not_lose_a_step_that_has_finished(autojump_clock: MockClock) -> None:
    """A step whose function returned while the run was interrupted is recorded all the same."""
    calls = Calls()
    stop = trio.CancelScope()

    async def make() -> str:
        done = await calls.make("first")
        if len(calls.made) == 1:
            stop.cancel()
        return done

    async def task(ctx: Context) -> None:
        await ctx.step("first", make)

    notes: dict[str, str] = {}
    assert autojump_clock.current_time() == 0

    class Slow:
        async def read(self) -> dict[str, str]:
            await trio.lowlevel.checkpoint()
            return notes

        async def write(self, name: str, result: str) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            notes[name] = result

    with stop:
        await task(context(Workspace(notebook=Slow())))
    assert notes == {"first": '"first done"'}


async def test_a_first_attempt_asks_the_store_for_nothing(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """A task without steps costs no question, and a first attempt does not read."""

    @tasks.task("plain")
    async def plain(ctx: Context) -> int:
        await trio.lowlevel.checkpoint()
        return ctx.attempt

    @tasks.task("stepping")
    async def stepping(ctx: Context) -> str:
        return await ctx.step("only", Calls().make, "x")

    async with at_work(tasks, autojump_clock) as runner:
        await runner.perform("plain")
        assert kinds(runner.asked) == [Claim, Claim, Finish]
        await runner.perform("stepping")
        assert kinds(runner.asked) == [Claim, Claim, Finish, RecordStep, Claim, Finish]


def kinds(questions: list[Question[object]]) -> list[type]:
    return [type(question) for question in questions]


async def test_steps_run_side_by_side(tasks: Registry, autojump_clock: MockClock) -> None:
    """Steps in a nursery wait for one another as little as the nursery's children do."""
    pages: dict[str, str] = {}

    async def fetch(name: str) -> str:
        await trio.sleep(10)
        return name.upper()

    @tasks.task("all")
    async def all_of_them(ctx: Context) -> dict[str, str]:
        async def one(name: str) -> None:
            pages[name] = await ctx.step(f"fetch {name}", fetch, name)

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(one, name)
        return pages

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("all")
    assert result_of(run) == {"a": "A", "b": "B", "c": "C"}
    assert autojump_clock.current_time() < 20


async def test_a_name_serves_once(tasks: Registry, autojump_clock: MockClock) -> None:
    """The second step of a name ends the run with a message that says how to name steps."""

    @tasks.task("loop")
    async def loop(ctx: Context) -> None:
        for name in ("a", "b"):
            await ctx.step("fetch", Calls().make, name)

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("loop")
    assert run.attempt == 1
    assert message_of(run) == (
        "step 'fetch' was begun twice in one attempt; a name is what a step's result is kept "
        'under, so in a loop make it tell the rounds apart: f"fetch {item}"'
    )


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb"])
async def test_a_name_is_a_short_text(name: str) -> None:
    """A name that cannot be shown is refused."""
    with pytest.raises(Permanent, match="a name is a text of 1 to 128 printable characters"):
        await context().step(name, Calls().make, "x")


async def test_a_step_that_takes_too_long_is_named(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """The run's message says which step, and how long it had."""

    @tasks.task("slow")
    async def slow(ctx: Context) -> None:
        await ctx.step("fetch", trio.sleep_forever, timeout=10)

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("slow", max_attempts=1)
    assert message_of(run) == "step 'fetch' timed out after 10 s"


async def test_a_task_that_takes_too_long_says_in_which_step(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """Steps that were underway are named, those that had ended are not, given up ones neither."""

    @tasks.task("slow", timeout=20)
    async def slow(ctx: Context) -> None:
        await ctx.step("first", trio.sleep, 1)
        with trio.move_on_after(5):
            await ctx.step("given up", trio.sleep_forever)
        await ctx.step("last", trio.sleep_forever)

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("slow", max_attempts=1)
    assert message_of(run) == "task 'slow' timed out after 20 s, in step 'last'"


async def test_a_step_has_the_services_time_by_default(
    tasks: Registry, autojump_clock: MockClock
) -> None:
    """STEP_TIMEOUT_SECONDS bounds a step that names no time of its own."""

    @tasks.task("slow")
    async def slow(ctx: Context) -> None:
        await ctx.step("fetch", trio.sleep_forever)

    async with at_work(
        tasks, autojump_clock, settings=Settings(step_timeout_seconds=7.5)
    ) as runner:
        run = await runner.perform("slow", max_attempts=1)
    assert message_of(run) == "step 'fetch' timed out after 7.5 s"


class Failing:
    """A function that raises so many times, and then returns how often it was called."""

    def __init__(self, times: int, problem: Callable[[], Exception]) -> None:
        self._times = times
        self._problem = problem
        self.calls = 0

    async def work(self) -> int:
        await trio.lowlevel.checkpoint()
        self.calls += 1
        if self.calls <= self._times:
            raise self._problem()
        return self.calls


async def test_retries_happen_within_the_attempt(autojump_clock: MockClock) -> None:
    """A step is tried again as often as it says; by default not at all."""
    assert await context().step("a", Failing(2, OSError).work, retries=2) == 3
    assert 1.5 <= autojump_clock.current_time() <= 3.5
    once = Failing(1, OSError)
    with pytest.raises(OSError, match="in step 'a'"):
        await context().step("a", once.work)
    assert once.calls == 1


async def test_retries_are_marked_on_the_span_of_the_step(autojump_clock: MockClock) -> None:
    """Whoever looks at a slow step in its trace sees that it was tried more than once."""
    spans: list[Record] = []
    with tracer_is(Recorder(DEFAULT_ON, spans.append)):
        await context().step("a", Failing(2, OSError).work, retries=2)
        await context().step("b", Failing(0, OSError).work, retries=2)
    assert [span.attributes.get("step.retries") for span in spans] == [2, None]


@pytest.mark.parametrize(
    ("retry_on", "tries"),
    [
        (ConnectionError, 2),
        ((ValueError, OSError), 2),
        (lambda error: isinstance(error, OSError), 2),
        (ValueError, 1),
        (lambda _: False, 1),
    ],
)
async def test_retry_on_chooses_what_is_tried_again(
    retry_on: RetryOn, tries: int, autojump_clock: MockClock
) -> None:
    """Exception types or a function decide; what they do not name is raised at once."""
    assert autojump_clock.current_time() == 0
    function = Failing(9, ConnectionResetError)
    with pytest.raises(ConnectionResetError):
        await context().step("a", function.work, retries=1, retry_on=retry_on)
    assert function.calls == tries


@pytest.mark.parametrize(
    "problem",
    [
        lambda: Permanent("no"),
        lambda: RetryAfter(60),
        lambda: ExceptionGroup("", [Permanent("no")]),
    ],
)
async def test_what_is_said_of_the_run_is_not_for_a_step_to_retry(
    problem: Callable[[], Exception],
) -> None:
    """Permanent and RetryAfter pass through a step at once, also in a group."""
    function = Failing(1, problem)
    with pytest.raises(Exception):  # noqa: B017, PT011 - what it is does not matter here
        await context().step("a", function.work, retries=3)
    assert function.calls == 1


async def test_a_context_ends_with_its_attempt(tasks: Registry, autojump_clock: MockClock) -> None:
    """Who kept it is told so before anything is done, and not when it is to be recorded."""
    kept: list[Context] = []
    calls = Calls()

    @tasks.task("keep")
    async def keep(ctx: Context) -> None:
        await trio.lowlevel.checkpoint()
        kept.append(ctx)

    async with at_work(tasks, autojump_clock) as runner:
        await runner.perform("keep")
    with pytest.raises(Permanent, match="the attempt that this context belongs to has ended"):
        await kept[0].step("late", calls.make, "late")
    with pytest.raises(Permanent, match="the attempt that this context belongs to has ended"):
        await kept[0].sleep(60)
    assert not calls.made


async def test_a_try_that_hangs_is_tried_again(autojump_clock: MockClock) -> None:
    """The timeout is each try's, so that a second try has a chance."""
    assert autojump_clock.current_time() == 0
    tries: list[None] = []

    async def hang_once() -> str:
        tries.append(None)
        await trio.sleep(math.inf if len(tries) == 1 else 0)
        return "there"

    assert await context().step("a", hang_once, timeout=5, retries=1) == "there"
    with pytest.raises(StepTimeout):
        await context().step("b", trio.sleep_forever, timeout=5, retries=2, retry_on=TimeoutError)


async def test_a_stop_passes_through_a_step_with_retries() -> None:
    """Cancellation is not an error to be retried."""
    with trio.CancelScope() as stop:
        async with trio.open_nursery() as nursery:

            async def stepping() -> None:
                await context().step("a", trio.sleep_forever, retries=5)

            nursery.start_soon(stepping)
            await wait_all_tasks_blocked()
            stop.cancel()
    assert stop.cancelled_caught


async def test_a_plain_function_runs_in_a_thread() -> None:
    """A blocking function does not hold the loop; one that returns a coroutine is awaited."""

    def thread_name(prefix: str) -> bool:
        return prefix == "x" and threading.current_thread() is not threading.main_thread()

    assert await context().step("a", thread_name, "x") is True
    assert await context().step("b", lambda: Calls().make("lambda")) == "lambda done"


async def test_a_result_is_what_json_makes_of_it() -> None:
    """The first time gives what a later attempt would get."""

    async def pair() -> tuple[int, str]:
        await trio.lowlevel.checkpoint()
        return (1, "a")

    made: object = await context().step("pair", pair)
    assert made == [1, "a"]


async def test_a_result_that_is_not_json_names_step_and_place() -> None:
    """A retry would end the same way, so it is refused for good."""

    def when() -> dict[str, list[datetime]]:
        return {"items": [datetime.now().astimezone()]}

    problem = r"^the result of step 'look' is not JSON: \$\.items\[0\]: datetime$"
    with pytest.raises(Permanent, match=problem):
        await context().step("look", when)


async def test_a_result_has_a_size_limit() -> None:
    """A result of the limit is kept; a byte more is an error that names step and sizes."""
    fits: Json = "x" * (STEP_MAX_BYTES - 2)
    assert await context().step("large", lambda: fits) == fits
    problem = "the result of step 'larger' is 1,048,577 bytes of JSON, more than 1,048,576"
    with pytest.raises(Permanent, match=problem):
        await context().step("larger", lambda: f"{fits}x")


async def test_the_number_of_steps_has_a_limit() -> None:
    """A task that makes steps without end is stopped by a message."""
    ctx = context()
    for number in range(STEPS_MAX):
        await ctx.step(f"step {number}", Calls().make, "x")
    with pytest.raises(Permanent, match="is one too many: a run has 1,000 at most"):
        await ctx.step("last", Calls().make, "x")


async def test_all_steps_together_have_a_size_limit() -> None:
    """What every later attempt has to read stays within bounds."""
    ctx = context()
    large = "x" * (STEP_MAX_BYTES - 2)

    async def give() -> str:
        await trio.lowlevel.checkpoint()
        return large

    for number in range(16):
        await ctx.step(f"step {number}", give)
    with pytest.raises(Permanent, match="with step 'last' the run's steps return more than"):
        await ctx.step("last", give)


def context(workspace: Workspace | None = None) -> Context:
    """Return a context made by hand, as in a test of an author's own."""
    return Context(
        run_id="r1",
        job_id="greet",
        attempt=1,
        max_attempts=4,
        trigger=Trigger.MANUAL,
        tick=None,
        log=get_logger("task.greet"),
        workspace=workspace or Workspace(),
    )
