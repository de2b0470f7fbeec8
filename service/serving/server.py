"""Lets connections in, up to a number, and sees all of them out when the service stops."""

import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from quart_trio import QuartTrio

from service.serving.connection import Connection
from service.serving.exchange import Exchange, WholeRequest
from service.serving.http1 import Shared
from service.serving.limits import Limits, Room

__all__ = ["serve"]

_DESCRIPTORS_FOR_OTHERS = 64


async def serve(
    app: QuartTrio,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[None]],
    log: logging.Logger,
    limits: Limits,
) -> None:
    """Serve `app` on `listener` until `stop` returns, then answer what is in flight and return.

    Cuts off what is left `limits.grace_seconds` after `stop`, whatever clients do. Closes
    `listener` in any case. What fails in a handler is logged to `log` with its traceback and
    answered 500; what fails in the server itself, in `stop` or in the app's background tasks is
    raised, in an ExceptionGroup. When cancelled, all connections are closed at once.
    """
    _fit_to_the_server(app)
    shared = Shared(
        app=app,
        config=_config(log, limits),
        context=WorkerContext(max_requests=None),
        limits=limits,
        room=Room(limits.large_bodies_bytes),
    )
    door = _Door(listener, _affordable(limits.connections))
    # Hypercorn would run the app's nursery where a crash ends in a log line.
    with listener:
        async with trio.open_nursery() as app.nursery:
            await app.startup()
            await _serve_until(stop, door, shared, log)
            await app.shutdown()


async def _serve_until(
    stop: Callable[[], Awaitable[None]], door: "_Door", shared: Shared, log: logging.Logger
) -> None:
    connections: set[Connection] = set()

    async def attend(stream: trio.SocketStream) -> None:
        connection = Connection(stream, shared)
        connections.add(connection)
        try:
            await connection.run()
        except Exception:  # whatever one client did to its connection, the others stay
            log.exception("a connection failed")
        finally:
            connections.remove(connection)
            stream.socket.close()
            door.leave()

    async with trio.open_nursery() as inside:
        async with trio.open_nursery() as entrance:
            entrance.start_soon(
                partial(trio.serve_listeners, attend, [door], handler_nursery=inside)
            )
            await stop()
            await shared.context.terminated.set()
            entrance.cancel_scope.cancel()
        for connection in connections:
            connection.stop()
        inside.cancel_scope.deadline = trio.current_time() + shared.limits.grace_seconds
    if inside.cancel_scope.cancelled_caught:
        log.warning("clients were cut off after %s s of grace", shared.limits.grace_seconds)


class _Door(trio.abc.Listener[trio.SocketStream]):
    """A listener that lets in no more than so many at a time; the others wait in its backlog."""

    def __init__(self, listener: socket.socket, places: int) -> None:
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        self._places = trio.Semaphore(places)

    async def accept(self) -> trio.SocketStream:
        await self._places.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        self._places.release()

    async def aclose(self) -> None:
        await self._listener.aclose()


def _affordable(connections: int) -> int:
    """Leave descriptors for the database, telemetry and tasks: accept must not take the last."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - _DESCRIPTORS_FOR_OTHERS))


def _config(log: logging.Logger, limits: Limits) -> Config:
    config = Config()
    config.errorlog = log
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.head_bytes
    return config


def _fit_to_the_server(app: QuartTrio) -> None:
    """Have each bound in one place, and what a handler does not expect logged and answered here."""
    app.asgi_http_class = Exchange
    app.request_class = WholeRequest
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROPAGATE_EXCEPTIONS"] = True
