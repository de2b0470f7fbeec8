"""The handle on the runners."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.pool import Pool


async def idle() -> str:
    """Wait for what never comes."""
    await trio.Event().wait()
    return "work"


async def test_who_waits_for_work_is_sent_home() -> None:
    """When hiring stops everybody who waits gets None, and so does whoever comes later."""
    pool = Pool()
    sent: list[str | None] = []

    async def wait() -> None:
        sent.append(await pool.while_hiring(idle))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert sent == []
        pool.stop_hiring()
    assert sent == [None] * 3
    assert await pool.while_hiring(idle) is None


async def test_work_that_is_there_is_taken() -> None:
    """While there is hiring, waiting for work returns the work."""

    async def work() -> str:
        await trio.lowlevel.checkpoint()
        return "work"

    assert await Pool().while_hiring(work) == "work"


async def test_cancel_ends_the_work_on_one_run() -> None:
    """Others go on, and a run that nobody works on is no error."""
    pool = Pool()
    ended: list[str] = []

    async def work(run_id: str) -> None:
        with trio.CancelScope() as scope, pool.working_on(run_id, 1, scope.cancel):
            await idle()
        ended.append(run_id)

    async with trio.open_nursery() as nursery:
        for run_id in ("one", "other"):
            nursery.start_soon(work, run_id)
        await wait_all_tasks_blocked()
        pool.cancel("nobody's")
        pool.cancel("one")
        await wait_all_tasks_blocked()
        assert ended == ["one"]
        pool.cancel("one")
        pool.cancel("other")
    assert ended == ["one", "other"]


async def test_last_words_are_heard_until_silence(autojump_clock: MockClock) -> None:
    """A shield holds against cancellation until silence is ordered, also one that opens later."""
    pool = Pool()
    ended: list[float] = []

    async def speak(begin: float) -> None:
        await trio.sleep(begin)
        with trio.CancelScope() as outer:
            outer.cancel()
            with pool.last_word():
                await idle()
            ended.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak, 0)
        nursery.start_soon(speak, 6)
        nursery.start_soon(speak, 12)
        await trio.sleep(5)
        pool.silence_at(10)
    assert ended == pytest.approx([10, 10, 12])
    assert autojump_clock.current_time() == pytest.approx(12)
