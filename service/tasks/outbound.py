"""What all tasks share to make requests: one client, and what servers said about their limits."""

from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeAlias

import attrs
import trio

if TYPE_CHECKING:
    import httpx

__all__ = ["Outbound", "Realm"]

CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 30.0
"""How long a server may say nothing; the whole of a request has its own bound."""

CONNECTIONS_MAX: Final = 100
CLOSE_SECONDS: Final = 1.0
REALMS_MAX: Final = 1_000

Realm: TypeAlias = tuple[str, str, str]
"""What shares a limit as far as we can tell: origin, credentials, and first part of the path."""


@attrs.define(eq=False)
class Outbound:
    """A client that is made when it is first asked for; close it by leaving the block.

    httpx takes a fifth of a second to import: a service without outbound requests never does.
    """

    _make: Callable[[], "httpx.AsyncClient"] | None = None
    """Makes another client than the usual one, for tests."""
    _client: "httpx.AsyncClient | None" = attrs.field(default=None, init=False)
    _opening: trio.Lock = attrs.field(factory=trio.Lock, init=False)
    _closed_until: dict[Realm, float] = attrs.field(factory=dict, init=False)

    async def client(self) -> "httpx.AsyncClient":
        """Return the client."""
        async with self._opening:
            if self._client is None:
                if self._make is None:
                    self._client = await trio.to_thread.run_sync(_usual_client)
                else:
                    self._client = self._make()
        return self._client

    def close(self, realm: Realm, seconds: float) -> None:
        """Ask nothing of `realm` for so many seconds: its server said so."""
        if len(self._closed_until) >= REALMS_MAX:
            now = trio.current_time()
            still = {key: until for key, until in self._closed_until.items() if until > now}
            self._closed_until = still if len(still) < REALMS_MAX else {}
        self._closed_until[realm] = trio.current_time() + seconds

    def closed_seconds(self, realm: Realm) -> float:
        """Return for how much longer nothing should be asked of `realm`."""
        return max(self._closed_until.get(realm, 0.0) - trio.current_time(), 0.0)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            if self._client is not None:
                await self._client.aclose()
            await trio.lowlevel.checkpoint()


def _usual_client() -> "httpx.AsyncClient":
    import httpx  # noqa: PLC0415 - see the class

    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # they would leak between tasks
    return httpx.AsyncClient(
        headers={
            "user-agent": "cron-webhook-service",  # GitHub refuses requests that have none
            "accept-encoding": "gzip",  # which we can decode within bounds
        },
        cookies=no_cookies,
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=20),
    )
