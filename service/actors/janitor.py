"""The janitor actor: forgets what is older than its retention, a little at a time.

A batch is small and is followed by a longer pause, so that webhooks, runs and cron come in between
and hardly notice.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs
import trio

from service.core.errors import StoreEnded, StoreUnavailable
from service.door import Door
from service.messages import Prune, Pruned
from service.observability.logs import get_logger

__all__ = ["Janitor"]

BATCH: Final = 100
ROUND_SECONDS: Final = 3600.0
PAUSE_FACTOR: Final = 4.0
"""Pause after a batch, as a multiple of the time it took."""

log = get_logger("service.janitor")


@attrs.frozen(kw_only=True)
class Janitor:
    """Keeps runs and ticks for `retention`, delivery ids for `window` whatever the retention."""

    door: Door
    retention: timedelta
    window: timedelta
    now: Callable[[], datetime]

    async def clean(self) -> None:
        """Make a round every hour until cancelled."""
        with self.door:
            while True:
                try:
                    await self._round()
                except StoreEnded:
                    raise
                except StoreUnavailable as error:
                    log.warning("old runs could not be forgotten yet", reason=str(error))
                await trio.sleep(ROUND_SECONDS)

    async def _round(self) -> None:
        runs, after = 0, 0
        while True:
            started_at = trio.current_time()
            pruned = await self._batch(after)
            runs += pruned.runs
            if pruned.nothing_left:
                break
            after = after if pruned.last is None else pruned.last
            await trio.sleep(PAUSE_FACTOR * (trio.current_time() - started_at))
        if runs:
            log.info("old runs were forgotten", runs=runs)

    async def _batch(self, after: int) -> Pruned:
        now = self.now()
        return await self.door.ask(
            Prune(
                after=after,
                finished_before=now - self.retention,
                ticks_before=now - self.retention,
                seen_before=now - self.window,
                limit=BATCH,
            )
        )
