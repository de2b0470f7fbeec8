"""One fault, two lines: one when it begins and one when it is over."""

import time
from collections.abc import Callable

from service.observability.logs import Logger

__all__ = ["Fault"]


class Fault:
    """Something outside that can be down for long, such as a collector.

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
        self._since = 0.0

    def failed(self, **fields: object) -> None:
        """Say so the first time, with `fields`; only count it afterwards."""
        self._failures += 1
        if self._failures == 1:
            self._since = self._clock()
            self._log.warning(self._broken, **fields)

    def worked(self) -> None:
        """Say that it is over, if it had failed, how often and for how many seconds."""
        failures, self._failures = self._failures, 0
        if failures:
            seconds = round(self._clock() - self._since, 1)
            self._log.info(self._recovered, failures=failures, seconds=seconds)
