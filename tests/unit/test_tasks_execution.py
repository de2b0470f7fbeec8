"""Whatever a task does becomes an outcome; only a stop passes through."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.core.results import Permanent, Result, RetryAfter, error, ok
from service.core.run import Failure, Suspended, Trigger
from service.core.wire import Json
from service.observability.logs import Logger, get_logger
from service.tasks.context import Context
from service.tasks.execution import RESULT_MAX_BYTES, RETRY_AFTER_MAX_SECONDS, attempt
from service.tasks.registry import Registry
from service.tasks.task import Task

CTX = Context(
    run_id="r1",
    job_id="greet",
    attempt=1,
    max_attempts=4,
    trigger=Trigger.MANUAL,
    tick=None,
    log=get_logger("task.greet"),
)
THREADS = trio.CapacityLimiter(2)


@attrs.frozen
class Greet:
    """A typed payload."""

    name: str


def registered(
    function: Callable[[Context], object] | Callable[[Context, Greet], object],
) -> Task:
    registry = Registry()
    registry.task("greet")(function)
    return next(iter(registry))


class Listener(Logger):
    """Hears the warnings that are logged."""

    def __init__(self) -> None:
        super().__init__(None, [], {})
        self.heard: list[object] = []

    def warning(self, message: str, /, **fields: object) -> None:
        """Keep the exception beside what was said about it."""
        self.heard.append((message, fields["exc_info"]))


async def perform(
    task: Task,
    payload: Json = None,
    *,
    threads: trio.CapacityLimiter = THREADS,
    log: Logger = CTX.log,
) -> Result | Failure | Suspended:
    ctx = attrs.evolve(CTX, log=log)
    return await attempt(task, ctx, payload, timeout_seconds=30, threads=threads)


def raising(problem: BaseException) -> Task:
    async def fail(_: Context) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise problem

    return registered(fail)


def returning(value: object) -> Task:
    async def give(_: Context) -> object:
        await trio.lowlevel.checkpoint()
        return value

    return registered(give)


async def failure_of(problem: BaseException) -> Failure:
    outcome = await perform(raising(problem))
    assert isinstance(outcome, Failure)
    assert outcome.exception is problem
    return outcome


async def test_a_json_value_becomes_the_data_of_a_success() -> None:
    """What a task returns is the data of an ok result, as JSON already."""
    outcome = await perform(returning({"n": [1, None]}))
    assert outcome == ok({"n": [1, None]})
    assert isinstance(outcome, Result)
    assert outcome.encoded == '{"status":"ok","data":{"n":[1,null]}}'


@pytest.mark.parametrize("verdict", [ok([1], "done"), error("no", {"why": 1})])
async def test_a_verdict_is_taken_as_it_is(verdict: Result) -> None:
    """`ok` and `error` are the task's own verdicts."""
    assert await perform(returning(verdict)) is verdict


async def test_a_task_gets_its_context_and_its_payload_as_declared() -> None:
    """The payload arrives structured, and the context untouched."""

    async def greet(ctx: Context, payload: Greet) -> list[Json]:
        await trio.lowlevel.checkpoint()
        assert payload == Greet("Ada")
        return [ctx.run_id, payload.name]

    assert await perform(registered(greet), {"name": "Ada"}) == ok(["r1", "Ada"])


async def test_a_wrong_payload_fails_for_good_before_the_task_is_called() -> None:
    """A payload that was stored before its type changed is not retried."""

    async def greet(_: Context, payload: Greet) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise AssertionError(payload)

    outcome = await perform(registered(greet), {"name": 5})
    assert outcome == Failure("payload.name: expected str, got int", permanent=True)


async def test_a_plain_function_runs_in_a_worker_thread() -> None:
    """A blocking function does not hold the loop."""

    def blocking(_: Context) -> bool:
        return threading.current_thread() is threading.main_thread()

    assert await perform(registered(blocking)) == ok(False)  # noqa: FBT003 - the returned value


async def test_a_plain_function_fails_as_any_other() -> None:
    """An exception in the worker thread is the attempt's failure."""

    def blocking(_: Context) -> NoReturn:
        raise ValueError("x")

    assert await perform(registered(blocking)) == Failure("ValueError: x")


async def test_an_exception_names_its_type_and_what_it_says() -> None:
    """A failure's message is for a person, on one exception."""
    assert await failure_of(KeyError("name")) == Failure("KeyError: 'name'")
    assert await failure_of(RuntimeError()) == Failure("RuntimeError")


async def test_permanent_fails_for_good_in_its_own_words() -> None:
    """`Permanent` is not retried, and its message stands alone."""
    assert await failure_of(Permanent("no such repo")) == Failure("no such repo", permanent=True)
    assert await failure_of(Permanent()) == Failure("Permanent", permanent=True)


@pytest.mark.parametrize(
    ("seconds", "wait"),
    [
        (60, 60.0),
        (0, 0.0),
        (-5, 0.0),
        (float("-inf"), 0.0),
        (36_000.5, 36_000.5),
        (1e12, RETRY_AFTER_MAX_SECONDS),
        (10**400, RETRY_AFTER_MAX_SECONDS),
        (float("inf"), RETRY_AFTER_MAX_SECONDS),
        (float("nan"), None),
    ],
)
async def test_retry_after_is_kept_within_bounds(seconds: float, wait: float | None) -> None:
    """A server's word, passed on, can neither stop a run for ever nor break its runner."""
    failure = await failure_of(RetryAfter(seconds, "slow down"))
    assert failure == Failure("slow down", retry_after=wait)


async def test_retry_after_without_a_number_is_a_plain_failure() -> None:
    """What no type checker saw falls back to the usual backoff."""
    problem = RetryAfter(0)
    problem.seconds = "soon"  # type: ignore[assignment]
    assert (await failure_of(problem)).retry_after is None


async def test_a_group_names_its_members() -> None:
    """A nursery's failure says what happened inside, not how many groups it is wrapped in."""
    group = ExceptionGroup("outer", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])
    assert await failure_of(group) == Failure("ValueError: a; KeyError: 'b'")


async def test_a_large_group_is_cut() -> None:
    """A thousand failed children make one readable message."""
    failure = await failure_of(ExceptionGroup("many", [ValueError(str(n)) for n in range(1000)]))
    assert failure.message.startswith("ValueError: 0; ")
    assert failure.message.endswith("; ValueError: 4; and 995 more")


async def test_the_gravest_member_of_a_group_decides() -> None:
    """One `Permanent` is enough, and of several waits the longest is kept."""
    waits = ExceptionGroup("", [RetryAfter(5), ValueError("x"), RetryAfter(60)])
    assert (await failure_of(waits)).retry_after == 60
    assert not (await failure_of(waits)).permanent
    assert (await failure_of(ExceptionGroup("", [Permanent("no"), waits]))).permanent


@pytest.mark.parametrize("problem", [SystemExit(3), KeyboardInterrupt(), BaseException("odd")])
async def test_a_task_cannot_end_the_service(problem: BaseException) -> None:
    """What would end a program is an ordinary failure of a task, alone or in a group."""
    assert (await failure_of(problem)).message.startswith(type(problem).__name__)
    group = BaseExceptionGroup("", [problem, ValueError("x")])
    assert (await failure_of(group)).message.endswith("; ValueError: x")


async def test_a_plain_function_cannot_end_the_service() -> None:
    """`sys.exit()` in a library fails the attempt, in a thread too."""

    def leave(_: Context) -> NoReturn:
        raise SystemExit(3)

    assert await perform(registered(leave)) == Failure("SystemExit: 3")


async def test_a_message_can_always_be_stored() -> None:
    """Neither length, nor bytes in disguise, nor a broken exception makes a failure unspeakable."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert (await failure_of(Mute())).message == "Mute"
    assert (await failure_of(ValueError("\udcff"))).message == "ValueError: \\udcff"
    assert len((await failure_of(ValueError("x" * 10**6))).message) < 3_000


@attrs.frozen
class Item:
    """What JSON cannot hold."""

    when: datetime


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "$: datetime"),
        (
            {"items": [0, 1, {"when": datetime(2026, 1, 1, tzinfo=UTC)}]},
            "$.items[2].when: datetime",
        ),
        (ok([float("inf")]), "$[0]: inf is not a JSON number"),
        (error("no", float("nan")), "$: nan is not a JSON number"),
        (Item(datetime(2026, 1, 1, tzinfo=UTC)), "$: Item"),
    ],
)
async def test_a_result_that_is_not_json_names_the_place(value: object, place: str) -> None:
    """The author learns which part to convert, once: a retry would end the same way."""
    outcome = await perform(returning(value))
    assert outcome == Failure(f"the result is not JSON: {place}", permanent=True)


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (ok(None, "\udcff"), "the result's message is not text: it has a lone surrogate"),
        (ok(1, 5), "the result's message is int, not text"),  # type: ignore[arg-type]
        (error(OSError()), "the result's message is OSError, not text"),  # type: ignore[arg-type]
        (Result("done"), "the result's status is 'done', not ok or error"),  # type: ignore[arg-type]
    ],
)
async def test_a_result_that_nobody_could_read_is_named(result: Result, fault: str) -> None:
    """A status is one of two, and a message is text that can be stored."""
    assert await perform(returning(result)) == Failure(fault, permanent=True)


async def test_a_result_has_a_size_limit() -> None:
    """A result of the limit is kept; a byte more is an error that names both sizes."""
    frame = len('{"status":"ok","data":""}')
    assert isinstance(await perform(returning("x" * (RESULT_MAX_BYTES - frame))), Result)
    assert await perform(returning("x" * (RESULT_MAX_BYTES - frame + 1))) == Failure(
        "the result is 1,048,577 bytes of JSON, more than 1,048,576", permanent=True
    )


async def test_a_hidden_coroutine_is_explained() -> None:
    """A missing await, or a decorator that hides an async def, is named as the likely cause."""

    async def greet(ctx: Context) -> None:
        await trio.lowlevel.checkpoint()
        raise AssertionError(ctx)

    def plain(ctx: Context) -> object:
        return greet(ctx)

    async def unawaited(ctx: Context) -> object:
        await trio.lowlevel.checkpoint()
        return greet(ctx)

    for function in (plain, unawaited):
        outcome = await perform(registered(function))
        assert isinstance(outcome, Failure)
        assert "returned a coroutine" in outcome.message
        assert outcome.permanent


async def test_a_task_that_takes_too_long_fails(autojump_clock: MockClock) -> None:
    """The message names the task and its seconds; a later attempt may be faster."""
    assert autojump_clock.current_time() == 0
    outcome = await perform(registered(sleep_forever))
    assert outcome == Failure("task 'greet' timed out after 30 s")


async def sleep_forever(_: Context) -> None:
    await trio.sleep_forever()


async def fail_in_cleanup(_: Context) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ConnectionError("lost")


async def fail_beside_the_cancelled(_: Context) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_in_cleanup, _)
        nursery.start_soon(trio.sleep_forever)


FAILS_WHEN_CANCELLED = [fail_in_cleanup, fail_beside_the_cancelled]


@pytest.mark.parametrize("function", FAILS_WHEN_CANCELLED)
async def test_a_task_that_fails_while_it_times_out_has_timed_out(
    function: Callable[[Context], object], autojump_clock: MockClock
) -> None:
    """The timeout is the news; what its cleanup raised is a line in the log."""
    assert autojump_clock.current_time() == 0
    log = Listener()
    outcome = await perform(registered(function), log=log)
    assert outcome == Failure("task 'greet' timed out after 30 s")
    assert "task failed while it was interrupted" in str(log.heard)
    assert "ConnectionError('lost')" in str(log.heard)


@pytest.mark.parametrize("function", [sleep_forever, *FAILS_WHEN_CANCELLED])
async def test_a_stop_passes_through(function: Callable[[Context], object]) -> None:
    """An interrupted attempt has no outcome, whatever the task raises on its way out."""
    outcomes: list[Result | Failure | Suspended] = []
    with trio.CancelScope() as stop:
        async with trio.open_nursery() as nursery:

            async def performing() -> None:
                outcomes.append(await perform(registered(function)))

            nursery.start_soon(performing)
            await wait_all_tasks_blocked()
            stop.cancel()
    assert stop.cancelled_caught
    assert not outcomes


async def test_a_task_that_finishes_in_spite_of_a_stop_has_finished() -> None:
    """Work that is done is not done again."""

    async def stubborn(_: Context) -> str:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        return "done"

    with trio.CancelScope() as stop:
        stop.cancel()
        assert await perform(registered(stubborn)) == ok("done")


async def test_a_thread_that_takes_too_long_is_abandoned(mock_clock: MockClock) -> None:
    """The attempt ends on time; the thread keeps its place until it ends by itself."""
    threads = trio.CapacityLimiter(1)
    running, let_go = trio.Event(), threading.Event()
    outcomes: list[Result | Failure | Suspended] = []

    def blocking(_: Context) -> None:
        trio.from_thread.run_sync(running.set)
        let_go.wait()

    async def performing() -> None:
        outcomes.append(await perform(registered(blocking), threads=threads))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(performing)
            await running.wait()
            mock_clock.jump(31)
        assert outcomes == [Failure("task 'greet' timed out after 30 s")]
        assert threads.borrowed_tokens == 1
    finally:
        let_go.set()


async def test_a_task_that_finds_no_thread_says_so(autojump_clock: MockClock) -> None:
    """Threads that are all held by abandoned code are named as the cause."""
    assert autojump_clock.current_time() == 0
    threads = trio.CapacityLimiter(1)
    threads.acquire_on_behalf_of_nowait("an abandoned call")

    def blocking(ctx: Context) -> None:
        raise AssertionError(ctx)

    assert await perform(registered(blocking), threads=threads) == Failure(
        "task 'greet' timed out after 30 s of waiting for a thread: all 1 are busy"
    )


async def test_a_stop_leaves_a_thread_behind_at_once() -> None:
    """An interrupted plain function does not delay the stop."""
    running, let_go = trio.Event(), threading.Event()

    def blocking(_: Context) -> None:
        trio.from_thread.run_sync(running.set)
        let_go.wait()

    try:
        with trio.CancelScope() as stop:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(perform, registered(blocking))
                await running.wait()
                stop.cancel()
        assert stop.cancelled_caught
    finally:
        let_go.set()
