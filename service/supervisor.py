"""Builds the house, nests the lifetimes, and turns signals into a stop.

Theory of operation: inside out is the drain order
--------------------------------------------------
HTTP serves at once, for it needs only the store. The others start in the order of need: the store
takes in the runs that a crash left behind, runners wait for work, cron catches up. A store that
cannot commit (the disk is full) holds that up until it can; meanwhile webhooks are refused, and
health says why. All stop in the order of the indentation in `_live`, inside out: cron makes no more
runs; runners finish what they have within the grace, and what they cannot finish they hand back;
HTTP goes on storing what still arrives, because nobody sends a refused delivery again; the store,
with no door left open, writes its log back and ends.

The first signal starts that. The second cancels everything but the store: runs at hand go back to
the queue at once. An actor that crashes cancels everything but the store in the same way, and the
error leaves `supervise`. Requests in flight are still answered, for a moment.

A task that ignores its cancellation is left behind in the yard, the outermost nursery: all of the
above happens as if it had ended, and then the process is left. What hangs in spite of that, a task
that holds the event loop itself, is ended by a watchdog thread, which each signal tells by when;
its run is found at the next start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import attrs
import outcome
import trio

from service.actors.cron import Cron, Plan
from service.actors.gauge import Gauge
from service.actors.http import Web
from service.actors.janitor import Janitor
from service.actors.runner import Runner
from service.core.cronjob import CronJob
from service.desk import Desk
from service.door import Door, open_mailbox
from service.house import House, Mailbox, Trades
from service.messages import Recover
from service.observability.attempts import tell_poisoned
from service.observability.logs import get_logger
from service.observability.loop import LoopWatch, watched_loop
from service.observability.metrics import is_metered, run_crashed
from service.pool import Pool
from service.pulse import Pulse
from service.signals import heard_signals
from service.tasks.outbound import Outbound
from service.vault import Vault
from service.yard import Yard

__all__ = ["HARD_EXIT_SECONDS", "supervise"]

LAST_WORDS_SECONDS: Final = 1.0
"""From the end of the grace, or a sudden end, until the store is told no more of how runs ended."""

LAST_ANSWERS_SECONDS: Final = 0.5
"""For requests in flight when the service ends in a hurry."""

HARD_EXIT_SECONDS: Final = 4.75
"""From the end of the grace until the process ends whatever happens."""

THREADS_PER_RUNNER: Final = 4
"""More than one, for the tasks whose time is up and whose code goes on in its thread."""

RECOVER_BATCH: Final = 500

log = get_logger("service.supervisor")


@attrs.frozen
class _Stop:
    """What signals do: ask for a stop, then cancel everything but the store."""

    asked: trio.Event = attrs.field(factory=trio.Event)
    everything: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.frozen
class _Means:
    """What there is one of, and several actors use."""

    door: Door
    yard: Yard
    loop: LoopWatch
    stop: _Stop
    outbound: Outbound
    pool: Pool = attrs.field(factory=Pool)
    pulse: Pulse = attrs.field(factory=Pulse)
    started: trio.Event = attrs.field(factory=trio.Event)


async def supervise(house: House, trades: Trades) -> None:
    """Run the service until a signal stops it.

    Raises what crashed an actor, in an exception group; the store has then heard everybody's last
    words.
    """
    async with trio.open_nursery() as nursery:
        yard = Yard(nursery)
        with watched_loop() as loop:
            ending = await outcome.acapture(_with_store, house, trades, yard, loop)
        if strays := yard.strays:
            log.error("tasks ignore that they are cancelled; the service ends", tasks=strays)
            house.leave(ending)
        ending.unwrap()


async def _with_store(house: House, trades: Trades, yard: Yard, loop: LoopWatch) -> None:
    door, mailbox = open_mailbox()
    stop = _Stop()
    async with trio.open_nursery() as root:
        root.start_soon(_keep_store, house, trades, mailbox)
        with door, _obeyed_signals(house, stop):
            try:
                with stop.everything:
                    async with Outbound() as outbound:
                        await _live(house, trades, _Means(door, yard, loop, stop, outbound))
            finally:
                house.hard_exit_after(HARD_EXIT_SECONDS)
    log.info("service stopped")


async def _keep_store(house: House, trades: Trades, mailbox: Mailbox) -> None:
    with trio.CancelScope(shield=True):  # its doors end it, so that last words are heard
        await trades.store(house, mailbox)


async def _live(house: House, trades: Trades, means: _Means) -> None:
    """Start everything but the store, wait for the stop, and let it drain."""
    closing = trio.Event()
    grace = house.settings.shutdown_grace_seconds
    async with trio.open_nursery() as everything:
        everything.start_soon(trades.control, house, _desk(house, means))
        async with trio.open_nursery() as front:
            front.start_soon(_serve_http, house, trades, _web(house, means), closing)
            front.start_soon(_hush, means.pool, closing)
            async with trio.open_nursery() as runners:
                with _a_crash_cancelling(means.stop.everything):
                    async with trio.open_nursery() as planners:
                        planners.start_soon(_start, house, trades, means, runners, planners)
                        await means.stop.asked.wait()
                        planners.cancel_scope.cancel()
                means.pool.stop_hiring()
                runners.cancel_scope.deadline = trio.current_time() + grace
                means.pool.silence_at(trio.current_time() + grace + LAST_WORDS_SECONDS)
            closing.set()
        everything.cancel_scope.cancel()


@contextmanager
def _a_crash_cancelling(everything: trio.CancelScope) -> Iterator[None]:
    """Let all hear of a crash at once, not only when those further in have ended."""
    try:
        yield
    except BaseException:
        everything.cancel()
        raise


async def _start(
    house: House, trades: Trades, means: _Means, runners: trio.Nursery, planners: trio.Nursery
) -> None:
    """Start in the order of need those who make runs and perform them."""
    await _recover(means.door)
    for number, runner in enumerate(_runners(house, means)):
        runners.start_soon(trades.runner, runner, name=f"runner {number}")
    await planners.start(trades.cron, _cron(house, means))
    planners.start_soon(trades.janitor, _janitor(house, means.door))
    if is_metered():
        planners.start_soon(trades.gauge, Gauge(door=means.door.clone(), now=house.now))
    means.started.set()
    log.info("service started", **_facts(house))


async def _recover(door: Door) -> None:
    """Take in the runs that were running when the last process died."""

    def complain(reason: str) -> None:
        log.error("what the last process left waits for the store; nothing runs", reason=reason)

    while True:
        found = await door.insist(Recover(RECOVER_BATCH), complain=complain)
        for run in found.poisoned:
            tell_poisoned(run)
        run_crashed(found.requeued + len(found.poisoned))
        if found.requeued:
            log.warning("runs of a service that died are queued again", runs=found.requeued)
        if found.requeued + len(found.poisoned) < RECOVER_BATCH:
            return


@contextmanager
def _obeyed_signals(house: House, stop: _Stop) -> Iterator[None]:
    grace = house.settings.shutdown_grace_seconds

    def bound_the_end(number: int) -> None:
        house.hard_exit_after(HARD_EXIT_SECONDS + (grace if number == 1 else 0))

    def obey(number: int, name: str) -> None:
        if number == 1:
            log.info("stopping", signal=name, grace_seconds=grace)
            stop.asked.set()
        else:
            log.warning("stopping at once", signal=name)
            stop.everything.cancel()

    with heard_signals(at_once=bound_the_end, obey=obey):
        yield


def _runners(house: House, means: _Means) -> list[Runner]:
    count = house.settings.runners
    cron_timeouts = {
        job.id: job.timeout for job in house.workload.cron_jobs if job.timeout is not None
    }
    threads = trio.CapacityLimiter(count * THREADS_PER_RUNNER)
    return [
        Runner(
            door=means.door.clone(),
            pool=means.pool,
            yard=means.yard,
            workload=house.workload,
            settings=house.settings,
            threads=threads,
            cron_timeouts=cron_timeouts,
            now=house.now,
            outbound=means.outbound,
        )
        for _ in range(count)
    ]


def _desk(house: House, means: _Means) -> Desk:
    own = means.door.clone()
    return Desk(
        door=own,
        workload=house.workload,
        vault=Vault(own, house.settings.store_file),
        cancel_attempt=means.pool.cancel,
        headway=means.pool.headway,
        now=house.now,
    )


def _cron(house: House, means: _Means) -> Cron:
    return Cron(
        door=means.door.clone(),
        plans=[_plan(house, job) for job in house.workload.cron_jobs],
        pulse=means.pulse,
        now=house.now,
        cancel_run=means.pool.cancel,
    )


def _janitor(house: House, door: Door) -> Janitor:
    return Janitor(
        door=door.clone(),
        retention=timedelta(days=house.settings.run_retention_days),
        window=timedelta(hours=house.settings.dedupe_window_hours),
        now=house.now,
    )


def _plan(house: House, job: CronJob) -> Plan:
    retries = house.workload.tasks[job.job_id].retries if job.retries is None else job.retries
    schedule = job.compiled(default_timezone=house.settings.cron_timezone)
    return Plan(job, schedule, max_attempts=retries + 1)


def _web(house: House, means: _Means) -> Web:
    return Web(
        door=means.door.clone(),
        workload=house.workload,
        settings=house.settings,
        pulse=means.pulse,
        loop=means.loop,
        started=means.started,
        stopping=means.stop.asked,
        now=house.now,
    )


async def _serve_http(house: House, trades: Trades, web: Web, closing: trio.Event) -> None:
    """Serve until `closing`; when cancelled, answer what is in flight, but only for a moment."""
    shield = trio.CancelScope(shield=True)

    async def serve() -> None:
        with shield, web.door:
            await trades.http(house, web, closing)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            await closing.wait()
        except trio.Cancelled:
            closing.set()
            shield.deadline = trio.current_time() + LAST_ANSWERS_SECONDS
            raise


async def _hush(pool: Pool, closing: trio.Event) -> None:
    """Wait for `closing`, or to be cancelled; then last words may be told only for a moment.

    A store that cannot commit would otherwise be told for ever, and the end would wait for it.
    """
    try:
        await closing.wait()
    finally:
        pool.silence_at(trio.current_time() + LAST_WORDS_SECONDS)


def _facts(house: House) -> dict[str, object]:
    host, port, *_ = house.listener.getsockname()
    return {
        "address": f"http://{host}:{port}",
        "tasks": len(house.workload.tasks),
        "cron_jobs": len(house.workload.cron_jobs),
        "runners": house.settings.runners,
    }
