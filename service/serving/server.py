"""Lets connections in, up to a number, and sees all of them out when the service stops."""

import logging
import socket
from collections.abc import Awaitable, Callable

from quart_trio import QuartTrio

from service.serving.limits import Limits

__all__ = ["serve"]


async def serve(
    app: QuartTrio,
    listener: socket.socket,
    *,
    stop: Callable[[], Awaitable[None]],
    log: logging.Logger,
    limits: Limits,
) -> None:
    """Serve `app` on `listener` until `stop` returns, then answer what is in flight and return.

    Returns at most `limits.grace_seconds` after `stop` did, whatever clients do. Owns and closes
    `listener`. What fails in a handler is logged to `log` with its traceback and answered 500;
    what fails in the server itself, in `stop` or in the app's background tasks is raised.
    When cancelled, all connections are closed at once.
    """
    raise NotImplementedError
