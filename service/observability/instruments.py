"""What the facts ask of an instrument: OpenTelemetry's own can do it, and so can a tally's.

Amounts are finite and not negative, units are UCUM's.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

__all__ = ["NO_LABELS", "Counter", "Gauge", "Histogram", "Labels", "Meter"]


class Labels(dict[str, str | int]):
    """What tells the facts of one instrument apart: made once for each set, and then not changed.

    An instrument may know it by `pairs`, whose hash is made only once, too.
    """

    __slots__ = ("pairs",)

    def __init__(self, labels: Mapping[str, str | int]) -> None:
        super().__init__(labels)
        self.pairs = frozenset(labels.items())


NO_LABELS: Final = Labels({})


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
