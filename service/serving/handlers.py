"""The tasks in which a connection's requests are handled."""

from collections.abc import Awaitable, Callable
from typing import NoReturn

from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope

__all__ = ["Handlers"]


class Handlers(TaskGroup):
    """Starts apps without hypercorn's channel for bodies on their way: here they are whole."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start `app`, which knows where its body is."""
        self.spawn(_handle, app, config, scope, _no_channel, send, _no_channel, _no_channel)
        return _no_channel

    def cancel(self) -> None:
        """Cancel whatever is handled."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()


def _no_channel(*_: object) -> NoReturn:
    raise AssertionError("a handler's body does not come through a channel")
