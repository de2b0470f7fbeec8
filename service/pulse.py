"""A sign of life that one actor gives and another looks for."""

import attrs
import trio


@attrs.define(eq=False)
class Pulse:
    """When the cron loop last turned, on trio's clock; it owes a beat every half minute."""

    _beaten_at: float = attrs.field(factory=trio.current_time)

    def beat(self) -> None:
        """Say that the loop turns."""
        self._beaten_at = trio.current_time()

    def age_seconds(self) -> float:
        """Return the time since the last beat."""
        return trio.current_time() - self._beaten_at
