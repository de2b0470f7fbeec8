"""The yard: work that need not be waited for for ever."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.yard import PATIENCE_SECONDS, Hand, Stint, Yard


async def deaf(wake: trio.Event) -> None:
    """Ignore cancellation until woken."""
    with trio.CancelScope(shield=True):
        await wake.wait()


class Crew:
    """Has a list of stints done, one after another, and keeps how each of them ended."""

    def __init__(self, nursery: trio.Nursery, *todo: Callable[[], Awaitable[None]]) -> None:
        self.yard = Yard(nursery)
        self.at_hand: Stint | None = None
        self.ended: list[tuple[str, float]] = []
        self._todo = list(todo)

    async def work(self, *, seconds: float = 100) -> None:
        await self.yard.employ(partial(self._work, seconds))

    async def _work(self, seconds: float, hand: Hand) -> None:
        while self._todo:
            do = self._todo.pop(0)
            self.at_hand = hand.begin(f"at {do}", seconds=seconds, instead=self._instead)
            with self.at_hand as stint:
                await do()
            if stint.is_left_behind:
                return
            self._note("interrupted" if stint.is_interrupted else "done")

    async def _instead(self, stint: Stint) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._note("left, interrupted" if stint.is_interrupted else "left, late")

    def _note(self, how: str) -> None:
        self.ended.append((how, round(trio.current_time(), 3)))


async def test_work_is_done_and_its_error_is_heard() -> None:
    """A hand that behaves works as if it had been called; the yard outlives an error."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("no")

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, trio.lowlevel.checkpoint, fail, trio.lowlevel.checkpoint)
        with pytest.raises(ValueError, match="no"):
            await crew.work()
        assert [how for how, _ in crew.ended] == ["done"]
        await crew.work()
        assert [how for how, _ in crew.ended] == ["done", "done"]
        assert crew.yard.strays == []


async def test_cancelled_employer_waits_for_its_hand(autojump_clock: MockClock) -> None:
    """The stint has ended when Cancelled leaves the employment."""
    ended: list[float] = []

    async def clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, clean_up)
        with trio.move_on_after(5) as scope:
            await crew.work()
        assert scope.cancelled_caught
        assert ended == [autojump_clock.current_time()] == [5]


async def test_stint_that_ends_in_spite_of_cancellation_has_ended(
    autojump_clock: MockClock,
) -> None:
    """Its hand goes on to where it waits next; only then is the employer cancelled."""

    async def finish() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5.2)

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, finish)
        with trio.move_on_after(5) as scope:
            await crew.work()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert crew.ended == [("interrupted", 5.2)]
    assert autojump_clock.current_time() == pytest.approx(5.2)


async def test_deaf_stint_is_left_behind_by_a_cancelled_employer(
    autojump_clock: MockClock,
) -> None:
    """The employer waits for its patience and no longer; the stray is known by its name."""
    wake = trio.Event()
    do = partial(deaf, wake)
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, do, trio.sleep_forever)
        with trio.move_on_after(5) as scope:
            await crew.work()
        assert scope.cancelled_caught
        assert crew.ended == [("left, interrupted", 5 + PATIENCE_SECONDS)]
        assert crew.yard.strays == [f"at {do}"]
        wake.set()
        await wait_all_tasks_blocked()
        assert crew.yard.strays == []
    assert autojump_clock.current_time() == pytest.approx(5 + PATIENCE_SECONDS)


async def test_interrupted_stint_that_is_deaf_is_left_behind(autojump_clock: MockClock) -> None:
    """Another hand goes on with the work, whatever becomes of the first."""
    wake = trio.Event()
    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, partial(deaf, wake), trio.lowlevel.checkpoint)

        async def interrupt() -> None:
            await trio.sleep(5)
            assert crew.at_hand is not None
            crew.at_hand.interrupt()

        nursery.start_soon(interrupt)
        await crew.work()
        left = 5 + PATIENCE_SECONDS
        assert crew.ended == [("left, interrupted", left), ("done", left)]
        wake.set()
    assert len(crew.ended) == 2
    assert autojump_clock.current_time() == pytest.approx(left)


@pytest.mark.parametrize("seconds", [3, 100])
async def test_stint_has_all_the_patience_though_it_is_interrupted_once_more(
    autojump_clock: MockClock, seconds: float
) -> None:
    """Who cleans up after its time, or an interruption, is not cut short by another."""
    ended: list[float] = []

    async def clean_up() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3 + PATIENCE_SECONDS - 0.1)
        ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, clean_up)

        async def interrupt() -> None:
            for pause in (3, 0.2):
                await trio.sleep(pause)
                assert crew.at_hand is not None
                crew.at_hand.interrupt()

        nursery.start_soon(interrupt)
        await crew.work(seconds=seconds)
    assert ended == [3 + PATIENCE_SECONDS - 0.1]
    assert [how for how, _ in crew.ended] == ["interrupted"]


@pytest.mark.parametrize("seconds", [[5.0], [100.0, 5.0], [3.0, 5.0], [5.0, 3.0, 4.0]])
async def test_stint_that_ignores_its_time_is_left_behind(
    autojump_clock: MockClock, seconds: list[float]
) -> None:
    """Whatever stints came before it, of whatever length, it is so at its own time."""
    wake = trio.Event()
    *before, last = seconds
    ends: list[tuple[bool, float]] = []

    async def instead(stint: Stint) -> None:
        await trio.lowlevel.checkpoint()
        ends.append((stint.is_interrupted, round(trio.current_time(), 3)))

    async def work(hand: Hand) -> None:
        for each in before:
            with hand.begin("short", seconds=each, instead=instead):
                await trio.sleep(1)
        if not ends:
            with hand.begin("deaf", seconds=last, instead=instead):
                await deaf(wake)

    async with trio.open_nursery() as nursery:
        await Yard(nursery).employ(work)
        assert ends == [(False, len(before) + last + PATIENCE_SECONDS)]
        wake.set()
    assert autojump_clock.current_time() < 20


@pytest.mark.parametrize("heeds", [True, False])
async def test_hand_on_which_a_stint_left_a_nursery_open_goes_home(
    autojump_clock: MockClock, *, heeds: bool
) -> None:
    """Its error does not reach the yard, another does the rest; what runs on is a stray."""
    wake = trio.Event()

    async def live_on() -> None:
        with trio.CancelScope(shield=not heeds):
            await wake.wait()

    async def leave_open() -> None:
        with suppress(RuntimeError), trio.CancelScope():
            left = await trio.open_nursery().__aenter__()
            left.start_soon(live_on, name="live on")

    async with trio.open_nursery() as nursery:
        crew = Crew(nursery, leave_open, trio.lowlevel.checkpoint, leave_open)
        await crew.work()
        assert crew.ended == [("left, late", 0), ("done", 0), ("left, late", 0)]
        assert crew.yard.strays == ([] if heeds else ["live on"] * 2)
        wake.set()
        await wait_all_tasks_blocked()
        assert crew.yard.strays == []
    assert autojump_clock.current_time() == 0
