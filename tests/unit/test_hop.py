"""The way of SQL out of the event loop and back."""

import threading
from functools import partial

import pytest
import trio

from service.hop import own_thread


async def test_calls_are_made_one_at_a_time_in_one_thread() -> None:
    """Askers that come together are served in order, by the same thread, and not by the loop's."""
    threads: list[int] = []
    order: list[int] = []

    def work(number: int) -> int:
        threads.append(threading.get_ident())
        return number

    async def ask(number: int) -> None:
        order.append(await hop(partial(work, number)))

    with own_thread() as hop:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(ask, number)
    assert sorted(order) == list(range(20))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads


async def test_what_a_call_raises_reaches_its_asker() -> None:
    """An error is the verdict of the call, and the thread goes on."""

    def fail() -> None:
        raise ValueError("no")

    with own_thread() as hop:
        with pytest.raises(ValueError, match="no"):
            await hop(fail)
        assert await hop(lambda: "yes") == "yes"


async def test_a_call_cannot_be_called_off() -> None:
    """Whoever is cancelled meanwhile hears the verdict, for it stands."""
    begun, go_on = trio.Event(), threading.Event()
    loop = trio.lowlevel.current_trio_token()
    verdicts = []

    def work() -> str:
        loop.run_sync_soon(begun.set)
        assert go_on.wait(10)
        return "done"

    async def ask() -> None:
        verdicts.append(await hop(work))

    with own_thread() as hop:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await begun.wait()
            nursery.cancel_scope.cancel()
            go_on.set()
    assert verdicts == ["done"]


async def test_the_thread_ends_with_its_block() -> None:
    """Nothing is left of it."""
    with own_thread() as hop:
        thread = await hop(threading.current_thread)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
