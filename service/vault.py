"""How the running service makes a backup of its store while it goes on."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs
import trio

from service.core.errors import BackupFailed, StoreUnavailable
from service.door import Door
from service.messages import (
    BackedUp,
    Copied,
    CopyPages,
    GiveUpCopy,
)
from service.storage.backup import (
    Check,
    building_name,
    demand_target,
    publish,
    remove_building,
)

__all__ = ["Vault"]

TELL_SECONDS: Final = 0.2
"""Between two reports of how far it is."""


@attrs.define(eq=False)
class Vault:
    """Makes one backup at a time; `store` is the file itself, None when it is in memory."""

    _door: Door
    _store: Path | None
    _busy: bool = False

    async def back_up(
        self, target: Path, tell: Callable[[str, Copied], Awaitable[None]]
    ) -> BackedUp:
        """Put a whole, checked copy of the store at `target`; `tell` hears how far it is.

        Raises BackupFailed or StoreUnavailable. However it fails, also when it is cancelled, what
        stood at `target` stands there still, and nothing is left beside it.
        """
        if self._busy:
            raise BackupFailed("another backup is under way; wait for its end")
        demand_target(target, self._store)
        self._busy = True
        building = building_name(target)
        try:
            await self._copy(building, tell)
            await _check(building)
            size = await trio.to_thread.run_sync(publish, building, target)
        finally:
            with trio.CancelScope(shield=True):
                await self._clean_up(building)
            self._busy = False
        return BackedUp(path=target, size_bytes=size)

    async def _copy(self, building: Path, tell: Callable[[str, Copied], Awaitable[None]]) -> None:
        told_at = trio.current_time()
        while not (copied := await self._door.ask(CopyPages(building))).done:
            if trio.current_time() - told_at > TELL_SECONDS:
                await tell("copying", copied)
                told_at = trio.current_time()
        await tell("checking", copied)

    async def _clean_up(self, building: Path) -> None:
        with contextlib.suppress(StoreUnavailable):  # it has gone, and its copy with it
            await self._door.ask(GiveUpCopy(building))
        remove_building(building)


async def _check(building: Path) -> None:
    """Look at every page, which may take minutes. When cancelled, the check ends by and by."""
    check = Check.of(building)
    try:
        await trio.to_thread.run_sync(check.demand_sound, abandon_on_cancel=True)
    except trio.Cancelled:
        check.break_off()
        raise
