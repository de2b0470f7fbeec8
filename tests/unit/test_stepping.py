"""Steps in another context than the task's."""

from contextvars import ContextVar, copy_context

import pytest
import trio

from service.stepping import in_context

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


async def test_what_is_set_within_stays_within() -> None:
    """Before and after it waits, and in what it starts, a coroutine sees its context alone."""
    seen: list[str] = []

    async def look() -> None:
        seen.append(WHO.get())
        await trio.lowlevel.checkpoint()
        seen.append(WHO.get())

    async def other() -> str:
        seen.append(WHO.get())
        WHO.set("within")
        await trio.lowlevel.checkpoint()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.lowlevel.checkpoint()
        seen.append(await trio.to_thread.run_sync(WHO.get))
        return WHO.get()

    WHO.set("before")
    context = copy_context()
    WHO.set("without")
    assert await in_context(context, other()) == "within"
    assert seen == ["before", "within", "within", "within"]
    assert WHO.get() == "without"
    assert context[WHO] == "within"


async def test_cancellation_and_errors_pass() -> None:
    """They reach the coroutine where it waits, and what it makes of them its caller."""
    caught: list[BaseException] = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as error:
            caught.append(error)
            raise
        finally:
            caught.append(ValueError("cleaned up"))

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise caught[-1]

    with trio.move_on_after(0) as scope:
        await in_context(copy_context(), wait())
    assert scope.cancelled_caught
    with pytest.raises(ValueError, match="cleaned up") as raised:
        await in_context(copy_context(), fail())
    assert raised.value.__context__ is None
