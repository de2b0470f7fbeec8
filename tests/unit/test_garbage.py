"""What a failure held goes with it: Python is seldom asked to look for garbage."""

import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from contextvars import copy_context
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.actors.store import PATIENCE_SECONDS
from service.core.errors import StoreUnavailable
from service.core.run import Failure, Run, Status
from service.door import Door
from service.hop import own_thread
from service.messages import Enqueue
from service.stepping import in_context
from service.storage.database import Database
from service.storage.group import answer_all
from service.tasks import steps
from service.tasks.context import Context
from service.tasks.registry import Registry
from tests.runners import at_work
from tests.stores import START, Clock, enqueue, store_behind_door
from tests.unit.test_steps import context
from tests.unit.test_tasks_execution import Greet, perform, registered

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("_no_search_for_garbage")


@pytest.fixture
def _no_search_for_garbage() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def test_a_failed_plain_function_leaves_no_cycle() -> None:
    """Its payload, which may be large, is freed with its failure."""
    held: list[weakref.ref[Greet]] = []

    def fail(_: Context, greet: Greet) -> NoReturn:
        held.append(weakref.ref(greet))
        raise ValueError(greet.name)

    failure = await perform(registered(fail), {"name": "Ada"})
    assert isinstance(failure, Failure)
    assert held[0]() is not None
    del failure
    assert held[0]() is None


def plain(greet: Greet) -> NoReturn:
    raise ValueError(greet.name)


async def awaited(greet: Greet) -> NoReturn:
    await trio.lowlevel.checkpoint()
    raise ValueError(greet.name)


def hidden(greet: Greet) -> Awaitable[None]:
    return awaited(greet)


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize("function", [plain, awaited, hidden])
async def test_a_failed_step_leaves_no_cycle(
    function: Callable[[Greet], object], retries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its task held is freed with it, whatever kind of function it was, and how often."""
    monkeypatch.setattr(steps, "HOLD_SECONDS", 0.0)

    async def work(greet: Greet) -> None:
        await context().step("a", function, greet, retries=retries)

    await freed_after_failing(work, ValueError)


async def test_a_step_that_timed_out_between_two_tries_leaves_no_cycle(
    autojump_clock: MockClock,
) -> None:
    """What its task held is freed, though the try before it had failed."""
    assert autojump_clock.current_time() == 0

    async def work(greet: Greet) -> None:
        with trio.fail_after(0.1):
            await context().step("a", awaited, greet, retries=2)

    await freed_after_failing(work, trio.TooSlowError)


async def test_an_interrupted_run_leaves_no_cycle() -> None:
    """What it held is freed once Cancelled has passed out of its context."""
    held: list[weakref.ref[Greet]] = []

    async def wait() -> None:
        greet = Greet("Ada")
        held.append(weakref.ref(greet))
        await trio.sleep_forever()

    with trio.move_on_after(0):
        await in_context(copy_context(), wait())
    await trio.lowlevel.checkpoint()
    assert held[0]() is None


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_a_runner_that_waits_holds_no_run(
    autojump_clock: MockClock, *, is_deaf: bool
) -> None:
    """A run that has ended, be it as a stray, is freed though its runner has no other yet."""
    tasks = Registry()
    wake = trio.Event()

    @tasks.task("any")
    async def any_task(ctx: Context) -> None:
        with trio.CancelScope(shield=is_deaf):
            await wake.wait()

    async with at_work(tasks, autojump_clock) as runner:
        run_id = await runner.enqueue("any", max_attempts=1)
        await trio.sleep(400)
        wake.set()
        await wait_all_tasks_blocked()
        runs = [each for each in gc.get_objects() if isinstance(each, Run)]
        assert run_id not in [run.id for run in runs]
        del runs
        assert (await runner.look(run_id)).status is Status.ERROR


async def test_a_program_that_is_not_there_leaves_no_cycle() -> None:
    """What its task held is freed with the failure."""

    async def work(greet: Greet) -> None:
        await context().run_process([f"/no/such/{greet.name}"])

    await freed_after_failing(work, FileNotFoundError)


async def freed_after_failing(
    work: Callable[[Greet], Awaitable[None]], kind: type[Exception]
) -> None:
    greet = Greet("Ada")
    held = weakref.ref(greet)
    try:
        await work(greet)
    except kind:
        del greet
    await trio.to_thread.run_sync(int)  # the thread holds what it did last, and so does the loop
    assert held() is None


async def test_a_refused_question_leaves_no_cycle(tmp_path: Path) -> None:
    """A store that cannot commit does not keep the bodies that it refused, one after another."""
    path = tmp_path / "runs"
    with own_thread() as hop:
        async with store_behind_door(path, now=Clock(), hop=hop) as door:
            path.rename(tmp_path / "moved")
            first, second = await refused(door), await refused(door)
            assert first() is None
            (tmp_path / "moved").rename(path)
            await door.ask(enqueue())
            assert second() is None


async def test_a_slow_disk_does_not_keep_whom_it_refused(autojump_clock: MockClock) -> None:
    """What was asked while the disk hung is freed, though it still hangs."""
    stuck = False

    async def sticking(function: Callable[[], T], /) -> T:
        if stuck:
            await trio.sleep(PATIENCE_SECONDS * 3)
        await trio.lowlevel.checkpoint()
        return function()

    async with store_behind_door(now=Clock(), hop=sticking) as door:
        stuck = True
        await refused(door)
        second = await refused(door)
        assert second() is None
        assert autojump_clock.current_time() < PATIENCE_SECONDS * 2
        stuck = False


async def refused(door: Door) -> weakref.ref[Enqueue]:
    question = enqueue()
    with pytest.raises(StoreUnavailable):
        await door.ask(question)
    return weakref.ref(question)


async def test_a_question_that_fails_alone_leaves_no_cycle(tmp_path: Path) -> None:
    """What was asked is freed with its error, and so are the others of its group."""
    with own_thread() as hop:
        async with store_behind_door(tmp_path / "runs", now=Clock(), hop=hop) as door:
            held: list[weakref.ref[Enqueue]] = []

            async def ask(delivery: str) -> None:
                question = enqueue(delivery=delivery)
                held.append(weakref.ref(question))
                with suppress(UnicodeEncodeError):
                    await door.ask(question)

            async with trio.open_nursery() as nursery:
                for delivery in ("good", "\ud800"):
                    nursery.start_soon(ask, delivery)
            await door.ask(enqueue())  # the thread holds what it did last
            assert [each() for each in held] == [None, None]


def test_a_lost_group_leaves_no_cycle() -> None:
    """An error that loses the transaction does not hold what the group asked."""
    with closing(Database.open(None)) as database:
        database.connection.execute("PRAGMA max_page_count = 1")  # full
        question = enqueue(delivery="x" * 100_000)
        held = weakref.ref(question)
        try:
            with database.transaction():
                answer_all(database, [question], START)
        except StoreUnavailable:
            del question
        assert held() is None
