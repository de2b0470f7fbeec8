"""The door's contract, swept with cancellations: rows on disk equal verdicts given."""

import random
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.core.errors import StoreUnavailable
from service.core.run import Run, Status
from service.door import Door
from service.hop import Hop, inline, own_thread
from service.messages import Claim, Finish, Release
from tests.stores import Clock, all_runs, enqueue, store_behind_door

ASKERS: Final = 200


class Ledger:
    """What the store said to those who asked, and who was told nothing."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.cancelled: set[str] = set()
        self.finished: set[str] = set()
        self.held: dict[str, Run] = {}

    async def enqueue(self, door: Door, delay: float) -> None:
        question = enqueue()
        verdict = None
        with trio.move_on_after(delay) as scope:
            verdict = await door.ask(question)
        if verdict is not None:
            self.accepted.add(verdict.run_id)
        else:
            assert scope.cancelled_caught
            self.cancelled.add(question.run_id)

    async def claim(self, door: Door, delay: float, chance: float) -> None:
        """Claim as a runner does: what was claimed is finished, put back, or held."""
        run = None
        with trio.move_on_after(delay):
            run = await door.ask(Claim())
        if run is None:
            return
        if chance < 1 / 3:
            assert await door.ask(Finish(run.id, run.claim, Status.OK, "{}"))
            self.finished.add(run.id)
        elif chance < 2 / 3:
            assert await door.ask(Release(run.id, run.claim))
        else:
            self.held[run.id] = run


async def sweep(seed: int, hop: Hop, path: Path | None) -> None:
    rng = random.Random(seed)
    ledger = Ledger()
    async with store_behind_door(path, now=Clock(), hop=hop) as door:
        async with trio.open_nursery() as nursery:
            for _ in range(ASKERS):
                delay = rng.choice([0.0, rng.random() / 1000, rng.random() / 50])
                if rng.random() < 0.6:
                    nursery.start_soon(ledger.enqueue, door, delay)
                else:
                    nursery.start_soon(ledger.claim, door, delay, rng.random())
                if rng.random() < 0.3:
                    await trio.sleep(rng.random() / 1000)
        runs = await all_runs(door)
    assert set(runs) == ledger.accepted
    assert not set(runs) & ledger.cancelled
    by_status = {
        status: {run.id for run in runs.values() if run.status is status} for status in Status
    }
    assert by_status[Status.OK] == ledger.finished
    assert by_status[Status.RUNNING] == set(ledger.held)
    for run in runs.values():
        if run.status is Status.QUEUED:
            assert (run.attempt, run.crashes) == (0, 0)


@pytest.mark.parametrize("seed", range(40))
async def test_verdicts_equal_rows_in_memory(seed: int, autojump_clock: MockClock) -> None:
    """A verdict means that it stands, Cancelled that it never happened: on a virtual clock."""
    await sweep(seed, inline, None)
    assert autojump_clock.current_time() > 0


@pytest.mark.parametrize("seed", range(20))
async def test_verdicts_equal_rows_on_disk(seed: int, tmp_path: Path) -> None:
    """The same with a real file and a real thread, where askers are cancelled mid-commit."""
    with own_thread() as hop:
        await sweep(seed, hop, tmp_path / "runs.sqlite3")


async def test_cancelled_asker_waits_for_what_was_taken_up() -> None:
    """Once the store has taken a question up, a cancelled asker still gets the verdict."""
    taken, go_on = trio.Event(), trio.Event()

    async def slow_hop(function: object) -> object:
        taken.set()
        await go_on.wait()
        return function()  # type: ignore[operator]

    verdicts = []

    async def ask(door: Door, scope: trio.CancelScope) -> None:
        with scope:
            verdicts.append(await door.ask(enqueue()))

    async with store_behind_door(now=Clock(), hop=slow_hop) as door:  # type: ignore[arg-type]
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, door, scope)
            await taken.wait()
            scope.cancel()
            await wait_all_tasks_blocked()
            assert not verdicts
            go_on.set()
        assert len(await all_runs(door)) == len(verdicts) == 1


async def test_claim_cancelled_while_it_rides_in_a_group_gets_its_run() -> None:
    """A claim that was taken up and found a run answers, though its asker was cancelled."""
    gate = trio.Event()

    async def gated(function: object) -> object:
        await gate.wait()
        return function()  # type: ignore[operator]

    found = []

    async def claim(door: Door, scope: trio.CancelScope) -> None:
        with scope:
            found.append(await door.ask(Claim()))

    async with store_behind_door(now=Clock(), hop=gated) as door:  # type: ignore[arg-type]
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(claim, door, scope)
            nursery.start_soon(door.ask, enqueue())
            await wait_all_tasks_blocked()
            scope.cancel()
            await wait_all_tasks_blocked()
            gate.set()
        runs = await all_runs(door)
        if found:
            assert [run.status for run in runs.values()] == [Status.RUNNING]
        else:
            assert [run.status for run in runs.values()] == [Status.QUEUED]


async def test_everybody_is_answered_when_the_store_crashes() -> None:
    """Askers at the counter, parked, and in the mailbox get StoreUnavailable when it dies."""
    answers: list[str] = []

    async def crash(_: object) -> object:
        await wait_all_tasks_blocked()
        raise ZeroDivisionError

    async def ask(door: Door, question: object) -> None:
        try:
            await door.ask(question)  # type: ignore[arg-type]
        except StoreUnavailable as error:
            answers.append(str(error))

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with (
            trio.open_nursery() as askers,
            store_behind_door(now=Clock(), hop=crash) as door,  # type: ignore[arg-type]
        ):
            for question in (Claim(), enqueue(), enqueue()):
                askers.start_soon(ask, door, question)  # noqa: ASYNC111 - they see the store die
            await trio.sleep_forever()
    assert len(answers) == 3
