"""The store actor: groups, parked claims, full disks, patience."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.actors.store import GROUP_MAX, PATIENCE_SECONDS, run_store
from service.core.errors import StoreBroken, StoreEnded, StoreUnavailable
from service.core.run import Run, Status
from service.door import MAILBOX_SIZE, Door, open_mailbox
from service.hop import inline
from service.messages import (
    Claim,
    Finish,
    GiveUpCopy,
    PauseJobs,
    Probe,
    Recover,
    Release,
    Retry,
)
from service.storage import database as database_module
from service.storage.database import Database
from tests.stores import Clock, all_runs, enqueue, store_behind_door

T = TypeVar("T")


async def claimed(door: Door) -> Run:
    """Enqueue a run and claim it."""
    await door.ask(enqueue())
    return await door.ask(Claim())


async def test_what_waits_shares_a_commit(tmp_path: Path) -> None:
    """Whatever waits while one group commits is the next group: one commit for them all."""
    groups = 0

    async def counting(function: Callable[[], T], /) -> T:
        nonlocal groups
        groups += 1
        await wait_all_tasks_blocked()
        return function()

    async with store_behind_door(tmp_path / "runs", now=Clock(), hop=counting) as door:
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(door.ask, enqueue())
        assert len(await all_runs(door)) == 100
    assert groups <= 3


async def test_mailbox_full_of_questions_is_served_in_groups_of_bounded_size() -> None:
    """More askers than the mailbox holds all get in, a group at a time."""
    sizes: list[int] = []

    async with store_behind_door(now=Clock()) as door:

        async def ask() -> None:
            await door.ask(enqueue())
            sizes.append(1)

        async with trio.open_nursery() as nursery:
            for _ in range(MAILBOX_SIZE + GROUP_MAX):
                nursery.start_soon(ask)
        assert len(await all_runs(door)) == len(sizes) == MAILBOX_SIZE + GROUP_MAX


@pytest.mark.parametrize("senders", [32, 200, MAILBOX_SIZE])
async def test_rush_of_new_runs_leaves_half_of_its_rate_to_their_ends(senders: int) -> None:
    """However many send runs, as fast as they can, eight runners end half as many meanwhile."""
    accepted = ended = 0
    enough = trio.Event()

    async def send(door: Door) -> None:
        nonlocal accepted
        while True:
            await door.ask(enqueue())
            accepted += 1
            if accepted == 2000:
                enough.set()

    async def perform(door: Door) -> None:
        nonlocal ended
        claim = await door.post(Claim())
        while True:
            run = await claim.verdict()
            last_word = await door.post(Finish(run.id, run.claim, Status.OK, "{}"))
            claim = await door.post(Claim())
            await last_word.verdict()
            ended += 1

    async with store_behind_door(now=Clock()) as door, trio.open_nursery() as nursery:
        for _ in range(senders):
            nursery.start_soon(send, door)
        for _ in range(8):
            nursery.start_soon(perform, door)
        await enough.wait()
        nursery.cancel_scope.cancel()
    assert ended >= (accepted - GROUP_MAX) / 2  # in the first group nobody claims yet


async def test_runners_that_wait_in_vain_slow_no_sender_down() -> None:
    """New runs that nobody may perform, for their job is paused, are few commits as ever."""
    groups = 0

    async def counting(function: Callable[[], T], /) -> T:
        nonlocal groups
        groups += 1
        await trio.lowlevel.checkpoint()
        return function()

    async with store_behind_door(now=Clock(), hop=counting) as door:
        await door.ask(PauseJobs(None))
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(door.ask, Claim())
            await wait_all_tasks_blocked()
            groups = 0
            async with trio.open_nursery() as senders:
                for _ in range(GROUP_MAX):
                    senders.start_soon(door.ask, enqueue())
            nursery.cancel_scope.cancel()
    assert groups <= 3


async def test_who_sent_a_run_hears_of_it_before_it_begins() -> None:
    """A run may hold the loop as soon as it begins; its sender has then been answered."""
    for _ in range(30):  # trio shuffles whose turn it is
        heard: list[str] = []

        async def send(door: Door, heard: list[str] = heard) -> None:
            await door.ask(enqueue())
            heard.append("accepted")

        async def perform(door: Door, heard: list[str] = heard) -> None:
            await door.ask(Claim())
            heard.append("begun")

        async with store_behind_door(now=Clock()) as door, trio.open_nursery() as nursery:
            nursery.start_soon(perform, door)
            nursery.start_soon(send, door)
        assert heard == ["accepted", "begun"]


async def test_question_that_fails_loses_only_itself() -> None:
    """A question that the database refuses is answered with its error; its group stands."""
    bad = attrs.evolve(enqueue(), max_attempts=0)
    errors: list[Exception] = []

    async with store_behind_door(now=Clock()) as door:

        async def ask_badly() -> None:
            try:
                await door.ask(bad)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is looked at below
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.ask, enqueue())
            nursery.start_soon(ask_badly)
            nursery.start_soon(door.ask, enqueue())
        assert len(await all_runs(door)) == 2
    assert "max_attempts" in str(errors)


async def test_claims_wait_for_runs_and_get_them_in_order() -> None:
    """Parked claims are answered by the group that enqueues, the run due longest first."""
    taken: list[str] = []

    async with store_behind_door(now=Clock()) as door:

        async def claim() -> None:
            run = await door.ask(Claim())
            taken.append(run.id)
            assert (run.status, run.attempt, run.claim) == (Status.RUNNING, 1, 1)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(claim)
            await wait_all_tasks_blocked()
            assert not taken
            ids = [(await door.ask(enqueue())).run_id for _ in range(3)]
    assert taken == ids


async def test_parked_claim_wakes_when_its_run_is_due(autojump_clock: MockClock) -> None:
    """A retry that is due in an hour is claimed in an hour, and nobody polls for it."""
    async with store_behind_door(now=Clock()) as door:
        run = await claimed(door)
        assert await door.ask(Retry(run.id, run.claim, Clock()() + timedelta(hours=1), "{}"))
        again = await door.ask(Claim())
    assert autojump_clock.current_time() == pytest.approx(3600, abs=1)
    assert (again.id, again.attempt, again.claim) == (run.id, 2, 2)


async def test_wall_clock_that_jumps_ahead_is_noticed(autojump_clock: MockClock) -> None:
    """When the wall clock jumps, a due run is claimed within half a minute of real time."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        run = await claimed(door)
        assert await door.ask(Retry(run.id, run.claim, clock() + timedelta(hours=1), "{}"))
        clock.offset = timedelta(hours=2)
        await door.ask(Claim())
    assert autojump_clock.current_time() <= 31


@pytest.mark.parametrize("claim_offset", [-1, 1])
async def test_last_word_counts_only_for_the_claim_that_holds(claim_offset: int) -> None:
    """Whoever no longer holds a run changes nothing and is told so."""
    async with store_behind_door(now=Clock()) as door:
        run = await claimed(door)
        other = run.claim + claim_offset
        assert not await door.ask(Finish(run.id, other, Status.OK, "{}"))
        assert not await door.ask(Retry(run.id, other, Clock()(), "{}"))
        assert not await door.ask(Release(run.id, other))
        assert (await all_runs(door))[run.id] == run


async def test_last_word_may_be_said_again() -> None:
    """A finish whose verdict was lost is repeated without harm; another ending is refused."""
    async with store_behind_door(now=Clock()) as door:
        run = await claimed(door)
        assert await door.ask(Finish(run.id, run.claim, Status.OK, "{}"))
        assert await door.ask(Finish(run.id, run.claim, Status.OK, "{}"))
        assert not await door.ask(Finish(run.id, run.claim, Status.ERROR, "{}"))
        assert not await door.ask(Release(run.id, run.claim))


async def test_interrupted_run_gets_its_attempt_back() -> None:
    """A stop is not a failure: the run is queued again, and the next attempt is the same one."""
    async with store_behind_door(now=Clock()) as door:
        run = await claimed(door)
        assert await door.ask(Release(run.id, run.claim))
        again = await door.ask(Claim())
    assert (again.id, again.attempt, again.claim, again.crashes) == (run.id, 1, 2, 0)


async def test_orphans_run_again_until_they_crash_too_often(tmp_path: Path) -> None:
    """A run that was running when the process died is queued at once; the third crash ends it."""
    path = tmp_path / "runs"
    async with store_behind_door(path, now=Clock()) as door:
        run = await claimed(door)
    for crashes in (1, 2):
        async with store_behind_door(path, now=Clock()) as door:
            assert (await door.ask(Recover(10))).requeued == 1
            again = await door.ask(Claim())
            assert (again.id, again.crashes, again.attempt) == (run.id, crashes, 1)
    async with store_behind_door(path, now=Clock()) as door:
        found = await door.ask(Recover(10))
        assert found.requeued == 0
        [poisoned] = found.poisoned
        assert (poisoned.id, poisoned.status, poisoned.crashes) == (run.id, Status.ERROR, 3)
        assert "died 3 times" in str(poisoned.result)


async def test_full_disk_is_unavailable_and_passes(tmp_path: Path) -> None:
    """A full disk refuses the group, spoils nothing, and is forgotten when there is room."""
    door, mailbox = open_mailbox()
    database = Database.open(tmp_path / "runs")
    (pages,) = database.connection.execute("PRAGMA page_count").fetchone()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep, mailbox, database)
        with door:
            before = await door.ask(enqueue())
            database.connection.execute(f"PRAGMA max_page_count = {pages}")
            big = attrs.evolve(enqueue(), payload='"' + "x" * 100_000 + '"')
            with pytest.raises(StoreUnavailable, match="full"):
                await door.ask(big)
            assert set(await all_runs(door)) == {before.run_id}
            database.connection.execute("PRAGMA max_page_count = 1000000")
            await door.ask(Probe())
            assert (await door.ask(big)).run_id == big.run_id


async def _keep(mailbox: object, database: Database) -> None:
    await run_store(mailbox, database, limits={}, now=Clock(), hop=inline)  # type: ignore[arg-type]


async def test_parked_claim_outlives_a_full_disk(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A claim that could not be committed waits on, and gets its run when the disk has room."""
    failures = 3
    lost: list[float] = []

    async def failing(function: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        if len(lost) < failures and ready:
            lost.append(trio.current_time())
            raise StoreUnavailable("full")
        return function()

    ready = False
    async with store_behind_door(tmp_path / "runs", now=Clock(), hop=failing) as door:
        accepted = await door.ask(enqueue())
        ready = True
        run = await door.ask(Claim())
    assert run.id == accepted.run_id
    assert len(lost) == failures
    assert autojump_clock.current_time() >= failures - 1


async def test_claims_are_heard_again_though_nothing_was_written(
    autojump_clock: MockClock,
) -> None:
    """A question that changed nothing ends the pause of the claims, too."""
    is_full = False

    async def full(function: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        if is_full:
            raise StoreUnavailable("full")
        return function()

    async with store_behind_door(now=Clock(), hop=full) as door:
        accepted = await door.ask(enqueue())
        is_full = True
        with pytest.raises(StoreUnavailable):
            await door.ask(enqueue())
        is_full = False
        assert not await door.ask(Finish("nobody's", 1, Status.OK, "{}"))
        with trio.fail_after(1):
            assert (await door.ask(Claim())).id == accepted.run_id
    assert autojump_clock.current_time() == 0


async def test_slow_disk_refuses_but_does_not_lose(autojump_clock: MockClock) -> None:
    """When the disk takes too long, askers are told that it may or may not stand; claims wait."""
    stuck = False

    async def sticking(function: Callable[[], T], /) -> T:
        if stuck:
            await trio.sleep(PATIENCE_SECONDS * 3)
        await trio.lowlevel.checkpoint()
        return function()

    async with store_behind_door(now=Clock(), hop=sticking) as door:
        stuck = True
        refused = 0
        claims: list[Run] = []

        async def ask() -> None:
            nonlocal refused
            with pytest.raises(StoreUnavailable, match="disk takes longer"):
                await door.ask(enqueue())
            refused += 1

        async def claim() -> None:
            claims.append(await door.ask(Claim()))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
            nursery.start_soon(claim)
            await trio.sleep(PATIENCE_SECONDS * 2)
            assert refused == 5
            assert not claims
            stuck = False
        assert len(claims) == 1
    assert autojump_clock.current_time() >= PATIENCE_SECONDS * 3


@pytest.mark.parametrize("slow", ["checkpoint", "serve"])
async def test_slow_disk_refuses_also_between_two_groups(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """While the log is written back, or a backup copied, no asker waits for ever; claims do."""
    monkeypatch.setattr(database_module, "CHECKPOINT_EVERY_GROUPS", 2)

    async def sticking(function: Callable[[], T], /) -> T:
        called = function.func if isinstance(function, partial) else function
        if called.__name__ == slow:
            await trio.sleep(PATIENCE_SECONDS * 6)
        await trio.lowlevel.checkpoint()
        return function()

    async with store_behind_door(tmp_path / "runs", now=Clock(), hop=sticking) as door:
        accepted = await door.ask(enqueue())
        async with trio.open_nursery() as nursery:
            backup = GiveUpCopy(tmp_path / "copy")
            nursery.start_soon(door.ask, backup if slow == "serve" else enqueue())
            await trio.sleep(1)
            claim = await door.post(Claim())
            with pytest.raises(StoreUnavailable, match="disk takes longer"):
                await door.ask(enqueue())
            assert trio.current_time() <= PATIENCE_SECONDS + 1
            with trio.fail_after(PATIENCE_SECONDS * 6):
                assert (await claim.verdict()).id == accepted.run_id
    assert autojump_clock.current_time() == PATIENCE_SECONDS * 6


async def test_broken_disk_ends_the_store(tmp_path: Path) -> None:
    """When the disk can no longer be trusted, the store raises, and its askers are answered."""

    async def breaking(_: Callable[[], T], /) -> T:
        await trio.lowlevel.checkpoint()
        raise StoreBroken("fsync failed")

    with pytest.RaisesGroup(StoreBroken, flatten_subgroups=True):
        async with store_behind_door(tmp_path / "runs", now=Clock(), hop=breaking) as door:
            with pytest.raises(StoreEnded):
                await door.ask(enqueue())
            with pytest.raises(StoreEnded):
                await door.ask(enqueue())
            await trio.sleep_forever()


async def test_probe_writes_only_when_the_last_write_is_old(autojump_clock: MockClock) -> None:
    """Health asks the disk itself, unless it has just proved that it takes writes."""
    hops = 0

    async def counting(function: Callable[[], T], /) -> T:
        nonlocal hops
        hops += 1
        await trio.lowlevel.checkpoint()
        return function()

    async with store_behind_door(now=Clock(), hop=counting) as door:
        await door.ask(Probe())
        await door.ask(Probe())
        assert hops == 1
        await trio.sleep(11)
        await door.ask(Probe())
        assert hops == 2
    assert autojump_clock.current_time() >= 11


async def test_old_deliveries_may_come_again() -> None:
    """A delivery id is remembered for its window; after it the same id is a new delivery."""
    clock = Clock()
    async with store_behind_door(now=clock) as door:
        first = await door.ask(enqueue(delivery="d"))
        clock.offset = timedelta(hours=47, minutes=59)
        again = await door.ask(enqueue(delivery="d"))
        clock.offset = timedelta(hours=48, minutes=1)
        new = await door.ask(enqueue(delivery="d"))
    assert (again.run_id, again.replayed) == (first.run_id, True)
    assert (new.run_id != first.run_id, new.replayed) == (True, False)


async def test_nobody_is_let_in_once_the_store_has_ended() -> None:
    """A question to a store that has gone is refused at the door."""
    door, mailbox = open_mailbox()
    mailbox.close()
    with door, pytest.raises(StoreEnded):
        await door.ask(enqueue())
