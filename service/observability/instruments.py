"""What the facts ask of an instrument: OpenTelemetry's own can do it, and so can a tally's.

Amounts are finite and not negative, units are UCUM's.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

__all__ = ["NO_LABELS", "Counter", "Gauge", "Histogram", "Labels", "Meter"]

Labels = Mapping[str, str | int]
NO_LABELS: Final[Labels] = MappingProxyType({})


class Counter(Protocol):
    """Counts events."""

    def add(self, amount: int, labels: Labels = NO_LABELS, /) -> None:
        """Count `amount` more."""


class Gauge(Protocol):
    """Keeps a level."""

    def set(self, amount: float, labels: Labels = NO_LABELS, /) -> None:
        """Keep `amount` until another is told."""


class Histogram(Protocol):
    """Counts amounts by their size."""

    def record(self, amount: float, labels: Labels = NO_LABELS, /) -> None:
        """Count `amount` in the bucket whose upper bound it does not exceed."""


class Meter(Protocol):
    """Makes instruments."""

    def create_counter(self, name: str, unit: str, description: str, /) -> Counter:
        """Return what counts events."""

    def create_gauge(self, name: str, unit: str, description: str, /) -> Gauge:
        """Return what keeps a level."""

    def create_histogram(
        self,
        name: str,
        unit: str,
        description: str,
        /,
        *,
        explicit_bucket_boundaries_advisory: Sequence[float],
    ) -> Histogram:
        """Return what counts amounts by their size; the bounds rise."""
