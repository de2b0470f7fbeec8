"""What the supervisor builds with: the facts of the house, and the trades of its actors."""

import logging
import socket
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NoReturn, TypeAlias

import attrs
import outcome
import trio

from service.actors.control import run_control
from service.actors.cron import Cron
from service.actors.gauge import Gauge
from service.actors.http import Web, make_app
from service.actors.janitor import Janitor
from service.actors.runner import Runner
from service.actors.store import run_store
from service.desk import Desk
from service.door import Ticket
from service.hop import own_thread
from service.serving import Limits, serve
from service.settings import Settings
from service.storage.database import Database
from service.tasks.loading import Workload

__all__ = ["HTTP_GRACE_SECONDS", "House", "Mailbox", "Trades"]

HTTP_GRACE_SECONDS: Final = 1.5
LARGE_BODIES_BYTES: Final = 64 * 2**20

Mailbox: TypeAlias = trio.MemoryReceiveChannel[Ticket[object]]


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
    leave: Callable[[outcome.Outcome[None]], NoReturn]
    """Ends the process as it would end by itself if there were no tasks that go on for ever."""


async def _keep_store(house: House, mailbox: Mailbox) -> None:
    with own_thread() as hop:
        await run_store(
            mailbox, house.database, limits=house.workload.limits, now=house.now, hop=hop
        )


async def _serve_http(house: House, web: Web, closing: trio.Event) -> None:
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


async def _answer_operator(house: House, desk: Desk) -> None:
    await run_control(house.control, desk, payload_max_bytes=house.settings.webhook_max_body_bytes)


@attrs.frozen(kw_only=True)
class Trades:
    """What each actor does; whoever wants to see one fail puts another in its place."""

    store: Callable[[House, Mailbox], Awaitable[None]] = _keep_store
    control: Callable[[House, Desk], Awaitable[None]] = _answer_operator
    http: Callable[[House, Web, trio.Event], Awaitable[None]] = _serve_http
    runner: Callable[[Runner], Awaitable[None]] = Runner.work
    cron: Callable[[Cron, trio.TaskStatus[None]], Awaitable[None]] = Cron.keep_time
    janitor: Callable[[Janitor], Awaitable[None]] = Janitor.clean
    gauge: Callable[[Gauge], Awaitable[None]] = Gauge.measure
