"""Builds the house, nests the lifetimes, and turns signals into a stop.

Theory of operation: inside out is the drain order
--------------------------------------------------
Actors start in the order of need: the store takes in the runs that a crash left behind, runners
wait for work, cron catches up, and HTTP serves last. They stop in the order of the indentation in
`_live`, inside out: cron makes no more runs; runners finish what they have within the grace, and
what they cannot finish they hand back; HTTP goes on storing what still arrives, because nobody
sends a refused delivery again; the store, with no door left open, writes its log back and ends.

The first signal starts that. The second cancels everything but the store: runs at hand go back to
the queue at once. A watchdog thread ends the process if even that hangs. An actor that crashes
cancels everything but the store in the same way, and the error leaves `supervise`.
"""

import logging
import signal
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs
import trio

from service.actors.control import run_control
from service.actors.cron import Cron, Plan
from service.actors.http import Web, make_app
from service.actors.janitor import Janitor
from service.actors.runner import Runner
from service.actors.store import in_own_thread, run_store
from service.core.cronjob import CronJob
from service.messages import Door, Recover, Ticket, open_mailbox
from service.observability.logs import get_logger
from service.pool import Pool
from service.pulse import Pulse
from service.serving import Limits, serve
from service.settings import Settings
from service.storage.database import Database
from service.tasks.loading import Workload

__all__ = ["HARD_EXIT_SECONDS", "House", "supervise"]

LAST_WORDS_SECONDS: Final = 1.5
"""From the end of the grace until runs are given up that the store could not be told about."""

HTTP_GRACE_SECONDS: Final = 2.0
HARD_EXIT_SECONDS: Final = 4.5
"""From the end of the grace until the process ends whatever happens."""

LARGE_BODIES_BYTES: Final = 64 * 2**20
THREADS_PER_RUNNER: Final = 4
"""More than one, for the tasks whose time is up and whose code goes on in its thread."""

RECOVER_BATCH: Final = 500

log = get_logger("service.supervisor")


@attrs.frozen(kw_only=True)
class House:
    """All that the actors are built from."""

    settings: Settings
    workload: Workload
    database: Database
    listener: socket.socket
    control: socket.socket
    now: Callable[[], datetime]
    hard_exit_after: Callable[[float], None]
    """Called once the end has begun: the process is to end within so many seconds."""


async def supervise(house: House) -> None:
    """Run the service until a signal stops it.

    Raises what crashed an actor, in an exception group; the store has then heard everybody's last
    words.
    """
    door, mailbox = open_mailbox()
    async with trio.open_nursery() as root:
        root.start_soon(_keep_store, house, mailbox)
        with door:
            try:
                await _live(house, door)
            finally:
                house.hard_exit_after(HARD_EXIT_SECONDS)


async def _keep_store(house: House, mailbox: trio.MemoryReceiveChannel[Ticket[object]]) -> None:
    with trio.CancelScope(shield=True):  # its doors end it, so that last words are heard
        await run_store(mailbox, house.database, now=house.now, hop=in_own_thread())


async def _live(house: House, door: Door) -> None:
    """Start everything but the store, wait for the stop, and let it drain."""
    stopping, closing = trio.Event(), trio.Event()
    pool, pulse = Pool(), Pulse()
    grace = house.settings.shutdown_grace_seconds
    await _recover(door)
    async with trio.open_nursery() as everything:
        everything.start_soon(_obey_signals, house, stopping, everything.cancel_scope)
        everything.start_soon(run_control, house.control, door.clone())
        async with trio.open_nursery() as front:
            async with trio.open_nursery() as runners:
                async with trio.open_nursery() as planners:
                    _start_runners(runners, house, door, pool)
                    await planners.start(_cron(house, door, pool, pulse).keep_time)
                    planners.start_soon(_janitor(house, door).clean)
                    front.start_soon(_serve_http, house, door, pulse, stopping, closing)
                    log.info("service started", **_facts(house))
                    await stopping.wait()
                    planners.cancel_scope.cancel()
                pool.stop_hiring()
                runners.cancel_scope.deadline = trio.current_time() + grace
                pool.silence_at(trio.current_time() + grace + LAST_WORDS_SECONDS)
            closing.set()
        everything.cancel_scope.cancel()
    log.info("service stopped")


async def _recover(door: Door) -> None:
    """Take in the runs that were running when the last process died."""
    while True:
        found = await door.ask(Recover(RECOVER_BATCH))
        for run in found.poisoned:
            log.error(
                "run ended: the service died too often while it was running",
                job_id=run.job_id,
                run_id=run.id,
                crashes=run.crashes,
                status=str(run.status),
            )
        if found.requeued:
            log.warning("runs of a service that died are queued again", runs=found.requeued)
        if found.requeued + len(found.poisoned) < RECOVER_BATCH:
            return


async def _obey_signals(house: House, stopping: trio.Event, everything: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            name = signal.Signals(number).name
            if stopping.is_set():
                log.warning("stopping at once", signal=name)
                everything.cancel()
                return
            log.info("stopping", signal=name, grace_seconds=house.settings.shutdown_grace_seconds)
            house.hard_exit_after(house.settings.shutdown_grace_seconds + HARD_EXIT_SECONDS)
            stopping.set()


def _start_runners(nursery: trio.Nursery, house: House, door: Door, pool: Pool) -> None:
    count = house.settings.runners
    cron_timeouts = {
        job.id: job.timeout for job in house.workload.cron_jobs if job.timeout is not None
    }
    threads = trio.CapacityLimiter(count * THREADS_PER_RUNNER)
    for number in range(count):
        runner = Runner(
            door=door.clone(),
            pool=pool,
            workload=house.workload,
            settings=house.settings,
            threads=threads,
            cron_timeouts=cron_timeouts,
            now=house.now,
        )
        nursery.start_soon(runner.work, name=f"runner {number}")


def _cron(house: House, door: Door, pool: Pool, pulse: Pulse) -> Cron:
    return Cron(
        door=door.clone(),
        plans=[_plan(house, job) for job in house.workload.cron_jobs],
        pulse=pulse,
        now=house.now,
        cancel_run=pool.cancel,
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


async def _serve_http(
    house: House, door: Door, pulse: Pulse, stopping: trio.Event, closing: trio.Event
) -> None:
    with door.clone() as own:
        web = Web(
            door=own,
            workload=house.workload,
            settings=house.settings,
            pulse=pulse,
            stopping=stopping,
            now=house.now,
        )
        await serve(
            make_app(web),
            house.listener,
            stop=closing.wait,
            log=logging.getLogger("service.http"),
            limits=Limits(
                body_bytes=house.settings.webhook_max_body_bytes,
                large_bodies_bytes=max(LARGE_BODIES_BYTES, house.settings.webhook_max_body_bytes),
                grace_seconds=HTTP_GRACE_SECONDS,
            ),
        )


def _facts(house: House) -> dict[str, object]:
    host, port, *_ = house.listener.getsockname()
    return {
        "address": f"http://{host}:{port}",
        "tasks": len(house.workload.tasks),
        "cron_jobs": len(house.workload.cron_jobs),
        "runners": house.settings.runners,
    }
