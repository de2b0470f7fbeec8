"""Retention: what is old and finished goes, everything else stays, and space comes back."""

from datetime import timedelta
from pathlib import Path

import attrs
import trio
from trio.testing import MockClock

from service.actors.janitor import BATCH, Janitor
from service.core.run import Status
from service.door import Door
from service.messages import (
    Claim,
    Finish,
    Prune,
    Retry,
)
from tests.stores import WINDOW, Clock, all_runs, enqueue, store_behind_door

RETENTION = timedelta(days=180)


async def finished(door: Door, *, payload: str = "null", delivery: str | None = None) -> str:
    await door.ask(attrs.evolve(enqueue(delivery=delivery), payload=payload))
    run = await door.ask(Claim())
    assert await door.ask(Finish(run.id, run.claim, Status.OK, "{}"))
    return run.id


async def clean_once(door: Door, clock: Clock) -> None:
    """Let the janitor make one round; it then sleeps for an hour of the virtual clock."""
    janitor = Janitor(door=door.clone(), retention=RETENTION, window=WINDOW, now=clock)
    with trio.move_on_after(1800):
        await janitor.clean()


async def test_only_old_finished_runs_go(autojump_clock: MockClock) -> None:
    """A run that is not finished is never pruned, however old; nor is a finished one too soon."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        gone = {await finished(door) for _ in range(BATCH * 2 + 1)}
        await door.ask(enqueue())
        running = await door.ask(Claim())
        await door.ask(enqueue())
        waiting = await door.ask(Claim())
        await door.ask(Retry(waiting.id, waiting.claim, clock() + RETENTION * 3, "{}"))
        clock.offset = RETENTION - timedelta(hours=1)
        young = await finished(door)
        await clean_once(door, clock)
        assert set(await all_runs(door)) == gone | {running.id, waiting.id, young}
        clock.offset = RETENTION + timedelta(hours=1)
        await clean_once(door, clock)
        assert set(await all_runs(door)) == {running.id, waiting.id, young}


async def test_rounds_come_every_hour(autojump_clock: MockClock) -> None:
    """What grows old while the service runs is forgotten without a restart."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        await finished(door)
        janitor = Janitor(door=door.clone(), retention=RETENTION, window=WINDOW, now=clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(janitor.clean)
            await trio.sleep(3000)
            assert len(await all_runs(door)) == 1
            clock.offset = RETENTION
            await trio.sleep(3600)
            assert not await all_runs(door)
            nursery.cancel_scope.cancel()


async def test_deliveries_are_kept_for_their_window_whatever_the_retention(
    autojump_clock: MockClock,
) -> None:
    """A delivery id outlives its pruned run until its window ends, and starts no second run."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        first = await finished(door, delivery="d")
        clock.offset = timedelta(hours=2)
        pruned = await door.ask(
            Prune(
                after=0,
                finished_before=clock() - timedelta(hours=1),
                ticks_before=clock() - timedelta(hours=1),
                seen_before=clock() - WINDOW,
                limit=BATCH,
            )
        )
        assert (pruned.runs, pruned.others) == (1, 0)
        again = await door.ask(enqueue(delivery="d"))
        assert (again.run_id, again.replayed) == (first, True)
        clock.offset = WINDOW + timedelta(hours=1)
        await clean_once(door, clock)
        assert not (await door.ask(enqueue(delivery="d"))).replayed


async def test_space_is_given_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    """One round shrinks the file by all that its forgotten runs took, however much that is."""
    clock = Clock()
    path = tmp_path / "runs.sqlite3"
    big = '"' + "x" * 50_000 + '"'
    async with store_behind_door(path, now=clock) as door:
        for _ in range(100):
            await finished(door, payload=big)
    full = path.stat().st_size
    assert full > 5_000_000
    clock.offset = RETENTION * 2
    async with store_behind_door(path, now=clock) as door:
        await clean_once(door, clock)
    assert path.stat().st_size < full / 10
