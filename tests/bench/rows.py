"""What a measure says, and what measures share."""

import statistics
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from service.client import ask, list_runs
from service.core.run import Status
from service.messages import RunFilter
from service.settings import read_settings
from tests.bench.load import Load
from tests.harness import until

__all__ = ["DATABASE", "Row", "drained", "median"]

DATABASE: Final = "data/runs.sqlite3"


@attrs.frozen
class Row:
    """One figure; `goal` says what it should be."""

    measure: str
    figure: float
    unit: str
    goal: str = ""


def drained(home: Path) -> None:
    """Wait until nothing is queued or running."""
    settings = read_settings({"RUN_STORE_SQLITE_PATH": str(home / DATABASE)})

    def empty() -> bool:
        return not any(
            list_runs(RunFilter(status=status, limit=1), partial(ask, settings))
            for status in (Status.QUEUED, Status.RUNNING)
        )

    until(empty, "the backlog is empty", seconds=600)


def median(loads: list[Load], field: str) -> float:
    """Return the median of a field of several loads."""
    values: list[float] = [getattr(load, field) for load in loads]
    return statistics.median(values)
