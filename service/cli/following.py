"""`service runs --follow`: a line for each run that comes, and for each change."""

import time
from functools import partial
from typing import Final

import attrs
import click

from service.cli.console import print_json
from service.cli.facts import run_json, shortened
from service.client import ask_service, list_runs
from service.core.run import Run, Status
from service.core.visible import visible
from service.core.wire import rfc3339
from service.messages import ReadNews, RunFilter
from service.settings import Settings

__all__ = ["follow_runs"]

PAUSE_SECONDS: Final = 0.5
PAGE: Final = 200
WATCHED_MAX: Final = 1_000
"""Runs that have not ended and are watched for changes; of more, those that came last."""


def follow_runs(settings: Settings, wanted: RunFilter, *, as_json: bool) -> None:
    """Print the newest runs that match, then every change, until Ctrl-C."""
    follower = _Follower(settings, wanted, as_json)
    try:
        follower.follow()
    except KeyboardInterrupt:
        return


@attrs.define
class _Follower:
    _settings: Settings
    _wanted: RunFilter
    _as_json: bool
    _printed: dict[str, tuple[Status, int]] = attrs.field(factory=dict)
    """How each run that has not ended was told of last."""
    _ended: set[str] = attrs.field(factory=set)
    """Runs that had ended when they were listed: the news may bring them once more."""

    def follow(self) -> None:
        last = ask_service(self._settings, ReadNews(after=None, watched=(), limit=PAGE)).last
        listed = list_runs(self._wanted, partial(ask_service, self._settings))
        for run in reversed(listed):
            self._tell(run)
        self._ended = {run.id for run in listed if run.finished_at is not None}
        while True:
            news = ask_service(
                self._settings, ReadNews(after=last, watched=tuple(self._printed), limit=PAGE)
            )
            for run in news.runs:
                self._tell(run)
            if news.last - last < PAGE:
                time.sleep(PAUSE_SECONDS)
            last = news.last

    def _tell(self, run: Run) -> None:
        """Print a run if it matches and has changed, and watch it until it ends."""
        stands = (run.status, run.attempt)
        if not _may_match(run, self._wanted) or run.id in self._ended:
            return
        if self._printed.get(run.id) == stands:
            return
        if self._wanted.status in {None, run.status}:
            self._print(run)
        if run.finished_at is not None:
            self._printed.pop(run.id, None)
            return
        self._printed[run.id] = stands
        while len(self._printed) > WATCHED_MAX:
            self._printed.pop(next(iter(self._printed)))

    def _print(self, run: Run) -> None:
        if self._as_json:
            print_json(run_json(run), on_one_line=True)
            return
        tries = f"{run.attempt}/{run.max_attempts}"
        columns = (run.id, f"{run.status:9}", f"{run.trigger:7}", f"{tries:5}", run.job_id)
        moment = rfc3339(run.finished_at or run.started_at or run.created_at)
        line = "  ".join([str(moment), *columns, shortened(run.result)])
        click.echo(visible(line.rstrip()))


def _may_match(run: Run, wanted: RunFilter) -> bool:
    """Tell whether a run matches by what does not change."""
    return wanted.job_id in {None, run.job_id} and wanted.trigger in {None, run.trigger}
