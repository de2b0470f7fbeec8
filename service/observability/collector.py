"""Where telemetry goes to: what is said when it cannot be delivered.

The libraries that send it log each failed batch, each retry and each dropped span. Here a fault of
a collector is one line when it begins, with its cause, and one when it is over.
"""

import logging
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlsplit

from service.observability.fault import Fault
from service.observability.logs import get_logger
from service.observability.partial import Partial
from service.observability.thin import cut

__all__ = ["Collector", "root_of", "without_secrets"]

REASON_CHARACTERS: Final = 300

log = get_logger("service.telemetry")


class Collector:
    """One place that telemetry goes to: hears why sending fails, and says it once.

    `sending` is the library's logger that tells why a batch failed, `losing` the one, if any, that
    tells of what was dropped before it was sent. What they say is heard here instead of logged.
    """

    def __init__(
        self, signal: str, endpoint: str, *, sending: str, losing: str | None = None
    ) -> None:
        self._fault = Fault(
            log,
            broken=f"{signal} cannot be delivered",
            recovered=f"{signal} are delivered again",
        )
        self._qualms = Fault(
            log,
            broken=f"{signal} are delivered, with a warning of the collector",
            recovered=f"{signal} are delivered without a warning again",
        )
        self.endpoint = without_secrets(endpoint)
        self.batches = 0
        """How many deliveries worked."""
        self.secrets: Collection[str] = ()
        """What is taken out of others' words: who was told a token may repeat it."""
        self.quiet = False
        """Whether someone else tells how it goes."""
        self._ears = {sending: _Ear(self.hear)}
        if losing is not None:
            self._ears[losing] = _Ear(self.lost)
        self.reason: str | None = None
        """Why the latest delivery failed; None after one that was answered."""
        self.rejection: str | None = None
        """What the latest answer to a delivery says was not taken."""
        self.warning: str | None = None
        """What it says besides, though everything was taken."""

    def listen(self, undo: ExitStack) -> None:
        """Take over what the library's loggers say."""
        for name, ear in self._ears.items():
            library = logging.getLogger(name)
            library.filters.insert(0, ear)  # before the library's own, which hushes what it said
            undo.callback(library.removeFilter, ear)

    def delivered(self) -> None:
        """Take note that a batch arrived, even if not all of it was taken."""
        self.reason = None
        if self.rejection is None:
            self.batches += 1
        if not self.quiet:
            _tell(self._fault, self.endpoint, self.rejection)
            _tell(self._qualms, self.endpoint, self.warning)

    def failed(self, reason: BaseException | str | None = None) -> None:
        """Take note that a batch is lost; without a `reason` it is the one that was heard."""
        if isinstance(reason, BaseException):
            reason = root_of(reason)
        self.reason = self._shown(reason) if reason else self.reason
        if not self.quiet:
            self._fault.failed(endpoint=self.endpoint, reason=self.reason)

    def lost(self, reason: str) -> None:
        """Take note that something was dropped before it was sent."""
        self.hear(reason)
        self.failed()

    def answered(self, partial: Partial) -> None:
        """Take note of what an answer to a delivery says."""
        words, some = self._shown(partial.message), partial.rejected > 0
        self.rejection = f"{partial.rejected} rejected: {words}" if some else None
        self.warning = None if some else words or None

    def hear(self, reason: str) -> None:
        """Take note of why sending fails, unless that is known."""
        if self.reason is None:  # what comes later only says that it was given up
            self.reason = self._shown(reason)

    def _shown(self, words: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            words = words.replace(secret, "...")
        return cut(words, REASON_CHARACTERS)


def _tell(fault: Fault, endpoint: str, reason: str | None) -> None:
    if reason is None:
        fault.worked()
    else:
        fault.failed(endpoint=endpoint, reason=reason)


class _Ear(logging.Filter):
    """Takes the records of a logger away from the log."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def filter(self, record: logging.LogRecord) -> bool:
        self._hear(record.getMessage())
        return False


def root_of(error: BaseException) -> str:
    """Return what went wrong at the bottom: libraries wrap it in their addresses and pools."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return f"{type(error).__name__}: {error}"


def without_secrets(url: str) -> str:
    """Return the part of an address that carries no password and no token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
