"""Errors for a person to look at: crashes of the service, runs that failed for good, lost ticks.

Each function does nothing until `reporting_to` names a reporter, which a DSN does.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, Protocol

from service.core.results import Result
from service.core.run import Failure, Run

__all__ = [
    "Reporter",
    "capture_crash",
    "capture_failure",
    "check_in",
    "check_out",
    "reporting_to",
    "run_scope",
]


class Reporter(Protocol):
    """Who takes errors."""

    def scope(self, run: Run) -> AbstractContextManager[None]:
        """Keep what is reported within apart from all other runs."""

    def failure(self, run: Run, outcome: Failure | Result) -> None:
        """Take the final failure of a run."""

    def crash(self, error: BaseException, **tags: str) -> None:
        """Take an error that nothing was there to handle."""

    def began(self, run: Run) -> None:
        """Take it that a run has begun."""

    def ended(self, run: Run, *, well: bool) -> None:
        """Take it that a run has ended, for good."""


def run_scope(run: Run) -> AbstractContextManager[None]:
    """Keep what is captured within, also by the task itself, apart from all other runs."""
    return nullcontext() if _out.reporter is None else _out.reporter.scope(run)


def capture_failure(run: Run, outcome: Failure | Result) -> None:
    """Send the final failure of a run; grouped by job and type of error."""
    if _out.reporter is not None:
        _out.reporter.failure(run, outcome)


def capture_crash(error: BaseException, **tags: str) -> None:
    """Send an error that nothing in the service was there to handle."""
    if _out.reporter is not None:
        _out.reporter.crash(error, **tags)


def check_in(run: Run) -> None:
    """Tell whoever watches the cron job of a run that the run has begun."""
    if _out.reporter is not None:
        _out.reporter.began(run)


def check_out(run: Run, *, well: bool) -> None:
    """Tell whoever watches the cron job of a run how the run ended, for good."""
    if _out.reporter is not None:
        _out.reporter.ended(run, well=well)


@contextmanager
def reporting_to(reporter: Reporter) -> Iterator[None]:
    """Give errors to `reporter` within."""
    before, _out.reporter = _out.reporter, reporter
    try:
        yield
    finally:
        _out.reporter = before


class _Out:
    """Who takes errors now."""

    reporter: Reporter | None = None


_out: Final = _Out()
