"""A step that fails says where, and nurseries in it hide nothing."""

from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from service.core.results import Permanent
from service.tasks.context import Context
from service.tasks.registry import Registry
from tests.runners import at_work, message_of
from tests.unit.test_steps import Failing, context


@pytest.mark.parametrize(
    ("members", "tries"),
    [([OSError(), ConnectionError()], 2), ([OSError(), ValueError()], 1)],
)
async def test_a_group_is_tried_again_if_each_of_it_would_be(
    members: list[Exception], tries: int, autojump_clock: MockClock
) -> None:
    """A nursery in a step wraps what is raised in it, and `retry_on` looks inside."""
    assert autojump_clock.current_time() == 0
    function = Failing(9, lambda: ExceptionGroup("outer", [ExceptionGroup("", members)]))
    with pytest.raises(Exception, match="outer"):
        await context().step("a", function.work, retries=1, retry_on=OSError)
    assert function.calls == tries


async def test_a_group_may_be_as_deep_as_it_likes() -> None:
    """What a step raises is looked into without an end of the stack."""

    def nested() -> Exception:
        problem: Exception = Permanent("no")
        for _ in range(5_000):
            problem = ExceptionGroup("outer", [problem])
        return problem

    function = Failing(1, nested)
    with pytest.raises(Exception, match="outer"):
        await context().step("a", function.work, retries=1)
    assert function.calls == 1


async def test_a_failure_says_in_which_step(autojump_clock: MockClock) -> None:
    """Each of several failures is told with its step, from the innermost out."""
    tasks = Registry()

    async def fail(*words: str) -> None:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("", [OSError(each) for each in words])

    @tasks.task("fail")
    async def failing(ctx: Context) -> None:
        await ctx.step("outer", ctx.step, "inner", fail, "one", "two")

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("fail", max_attempts=1)
    where = "(in step 'inner') (in step 'outer')"
    assert message_of(run) == f"OSError: one {where}; OSError: two {where}"


async def test_an_error_that_cannot_be_changed_stays_what_it_is() -> None:
    """A frozen exception takes no note of its step, and is raised all the same."""

    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise Frozen(3)

    with pytest.raises(Frozen):
        await context().step("a", fail)
