"""What is known of ticks: how each ended, and up to which one a job is accounted for."""

from datetime import datetime
from enum import StrEnum

import attrs

__all__ = ["CronState", "TickOutcome", "TickRecord"]


class TickOutcome(StrEnum):
    """How a tick ended."""

    RAN = "ran"
    SKIPPED = "skipped"
    MISSED = "missed"
    COALESCED = "coalesced"


@attrs.frozen(kw_only=True)
class CronState:
    """What the store knows of a cron job: its watermark, and its runs that have not ended."""

    watermark: datetime
    queued: int = 0
    running: int = 0

    @property
    def active(self) -> int:
        """Runs that have not ended."""
        return self.queued + self.running


@attrs.frozen(kw_only=True)
class TickRecord:
    """`count` successive ticks, the first and the last of them, and how they ended."""

    first: datetime
    last: datetime
    count: int
    outcome: TickOutcome
