"""The gauge actor: looks now and then at what no event tells of.

How late the loop wakes a sleeper, how many runs wait and since when, how large the files are. It
runs only where metrics go somewhere.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs
import trio

from service.core.errors import StoreEnded, StoreUnavailable
from service.door import Door
from service.messages import Measure
from service.observability.metrics import loop_lagged, store_measured

__all__ = ["Gauge"]

BEAT_SECONDS: Final = 1.0
BEATS_A_MEASURE: Final = 15


@attrs.frozen(kw_only=True)
class Gauge:
    """Measures the loop each second, and the store every quarter of a minute."""

    door: Door
    now: Callable[[], datetime]

    async def measure(self) -> None:
        """Measure until cancelled."""
        with self.door:
            while True:
                await self._measure_store()
                for _ in range(BEATS_A_MEASURE):
                    await _measure_loop()

    async def _measure_store(self) -> None:
        try:
            found = await self.door.ask(Measure())
        except StoreEnded:
            raise
        except StoreUnavailable:
            return  # the store says so itself
        waits = self.now() - found.oldest_due if found.oldest_due else timedelta()
        store_measured(
            queued=found.queued,
            oldest_seconds=max(waits / timedelta(seconds=1), 0.0),
            database_bytes=found.database_bytes,
            wal_bytes=found.wal_bytes,
        )


async def _measure_loop() -> None:
    due = trio.current_time() + BEAT_SECONDS
    await trio.sleep_until(due)
    loop_lagged(max(trio.current_time() - due, 0.0))
