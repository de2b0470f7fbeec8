"""Cron jobs as Sentry watches them, by its check-in protocol (develop.sentry.dev/sdk/check-ins).

Each run of a tick checks in when its first attempt begins, and once more with its final verdict.
Sentry itself notices what does not check in: a tick that was missed or skipped, or a run that takes
longer than it may. It counts in minutes and knows five fields, so a job that ticks several times a
minute has no monitor.
"""

import hashlib
import math
import re
from typing import Final

import attrs

from service.core.wire import Json

__all__ = ["Monitor", "crontab_of", "slug_of"]

MARGIN_SECONDS: Final = 300.0
"""How late a run may begin, beyond its jitter: for restarts, and for a queue."""

MINUTES_MAX: Final = 40_320
"""28 days, the longest that Sentry waits for anything."""

SLUG_MAX: Final = 50
_DIGEST_CHARACTERS: Final = 8


@attrs.frozen(kw_only=True)
class Monitor:
    """What Sentry is to expect of a cron job; durations are in seconds."""

    slug: str
    crontab: str
    timezone: str
    jitter: float
    runtime: float
    """The longest that a run may take, with all its attempts and the waits between them."""

    def config(self) -> dict[str, Json]:
        """Return it as the protocol words it, in minutes."""
        return {
            "schedule": {"type": "crontab", "value": self.crontab},
            "timezone": self.timezone,
            "checkin_margin": _minutes(self.jitter + MARGIN_SECONDS),
            "max_runtime": _minutes(self.runtime),
        }


def crontab_of(schedule: str) -> str | None:
    """Return a schedule as Sentry reads it, None for one that ticks within the minute.

    A fixed second is left out: the margin is longer than a minute.
    """
    fields = schedule.split()
    if len(fields) <= 5:  # noqa: PLR2004 - an alias, or Vixie's five fields
        return " ".join(fields)
    return " ".join(fields[1:]) if fields[0].isdecimal() else None


def slug_of(cron_id: str) -> str:
    """Return a cron job's id as Sentry allows it; ids that would look the same stay apart."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", cron_id.lower())
    if slug == cron_id and len(slug) <= SLUG_MAX and not slug.isdecimal():
        return slug
    digest = hashlib.sha256(cron_id.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{slug[: SLUG_MAX - _DIGEST_CHARACTERS - 1].strip('-') or 'job'}-{digest}"


def _minutes(seconds: float) -> int:
    return min(max(math.ceil(seconds / 60), 1), MINUTES_MAX)
