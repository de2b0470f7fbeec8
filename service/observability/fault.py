"""One fault, two lines: one when it begins and one when it is over."""

import math
import time
from collections.abc import Callable
from typing import Final

from service.observability.logs import Logger

__all__ = ["Fault"]

REST_SECONDS: Final = 60.0
"""After saying that something is broken, until the same is said again."""


class Fault:
    """Something outside that can be down for long, such as a collector.

    One that comes and goes is told of once in `REST_SECONDS`: what passes within is only counted.

    May be told from any thread; two that tell at the same instant may at worst say a line twice.
    """

    def __init__(
        self,
        log: Logger,
        *,
        broken: str,
        recovered: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._broken = broken
        self._recovered = recovered
        self._clock = clock
        self._failures = 0
        self._is_told = False
        self._told_at = -math.inf

    def failed(self, **fields: object) -> None:
        """Say so the first time, with `fields`; only count it afterwards."""
        self._failures += 1
        now = self._clock()
        if not self._is_told and now - self._told_at >= REST_SECONDS:
            self._is_told, self._told_at = True, now
            self._log.warning(self._broken, **fields)

    def worked(self) -> None:
        """Say that it is over, if it was said to be broken, how often and for how many seconds."""
        if self._is_told:
            seconds = round(self._clock() - self._told_at, 1)
            failures, self._failures = self._failures, 0
            self._is_told = False
            self._log.info(self._recovered, failures=failures, seconds=seconds)
