"""The yard: calls that need not be waited for for ever."""

import pytest
import trio
from trio.testing import MockClock

from service.yard import PATIENCE_SECONDS, LeftBehind, Yard


async def deaf(wake: trio.Event) -> str:
    """Ignore cancellation until woken."""
    with trio.CancelScope(shield=True):
        await wake.wait()
    return "late"


async def test_call_returns_what_the_function_returns() -> None:
    """A function that behaves is called as if there were no yard."""

    async def behave() -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    async with trio.open_nursery() as nursery:
        yard = Yard(nursery)
        assert await yard.call(behave, name="it", seconds=10) == "done"
        assert yard.strays == []


async def test_call_raises_what_the_function_raises() -> None:
    """An error reaches the caller, as it is, and the yard stands."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("no")

    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="no"):
            await Yard(nursery).call(fail, name="it", seconds=10)


async def test_cancelled_caller_cancels_the_function(autojump_clock: MockClock) -> None:
    """The function has ended when Cancelled leaves the call."""
    ended: list[float] = []

    async def clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(5) as scope:
            await Yard(nursery).call(clean_up, name="it", seconds=100)
        assert scope.cancelled_caught
        assert ended == [autojump_clock.current_time()] == [5]


async def test_function_that_returns_in_spite_of_cancellation_has_returned(
    autojump_clock: MockClock,
) -> None:
    """What was done is not thrown away; the caller is cancelled where it waits next."""
    returned: list[str] = []

    async def finish() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(5.2)
        return "done"

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(5) as scope:
            returned.append(await Yard(nursery).call(finish, name="it", seconds=100))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert returned == ["done"]
    assert autojump_clock.current_time() == pytest.approx(5.2)


async def test_deaf_function_is_left_behind_by_a_cancelled_caller(
    autojump_clock: MockClock,
) -> None:
    """The caller waits for its patience and no longer; the stray is known by its name."""
    wake = trio.Event()
    async with trio.open_nursery() as nursery:
        yard = Yard(nursery)
        with trio.move_on_after(5) as scope:
            await yard.call(lambda: deaf(wake), name="the deaf one", seconds=100)
        assert scope.cancelled_caught
        assert autojump_clock.current_time() == pytest.approx(5 + PATIENCE_SECONDS)
        assert yard.strays == ["the deaf one"]
        wake.set()


async def test_function_that_ignores_its_time_is_left_behind(autojump_clock: MockClock) -> None:
    """A call ends, with an error, when the function should have ended long since."""
    wake = trio.Event()
    async with trio.open_nursery() as nursery:
        yard = Yard(nursery)
        with pytest.raises(LeftBehind):
            await yard.call(lambda: deaf(wake), name="the deaf one", seconds=5)
        assert autojump_clock.current_time() == pytest.approx(5 + PATIENCE_SECONDS)
        assert yard.strays == ["the deaf one"]
        wake.set()
