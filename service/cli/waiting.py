"""`--wait`: until a run has ended, to say where it stands and what it waits for."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
import click
from rich.console import Console
from rich.status import Status as Spinner
from rich.text import Text

from service.cli.facts import progress_words
from service.cli.finding import no_run
from service.cli.times import duration
from service.client import ask_service
from service.core.run import Status
from service.core.visible import visible
from service.messages import Headway, ReadHeadway, ReadStanding, Standing
from service.settings import Settings

__all__ = ["UNFINISHED", "Teller", "wait_for_end", "where_it_stands"]

UNFINISHED: Final = (Status.QUEUED, Status.RUNNING)

_PAUSE_LEAST_SECONDS: Final = 0.05
_PAUSE_MOST_SECONDS: Final = 1.0


def wait_for_end(settings: Settings, run_id: str) -> Status:
    """Wait until a run has ended; tell on stderr how it stands meanwhile.

    Raises ClickException if there is no such run.
    """
    pause = _PAUSE_LEAST_SECONDS
    with Console(stderr=True, markup=False).status(f"run {run_id}") as spinner:
        teller = Teller(run_id, spinner)
        while (standing := _standing(settings, run_id)).status in UNFINISHED:
            headway = None
            if standing.status is Status.RUNNING:
                headway = ask_service(settings, ReadHeadway(run_id))
            teller.tell(standing, headway)
            time.sleep(pause)
            pause = min(pause * 1.5, _PAUSE_MOST_SECONDS)
    return standing.status


def where_it_stands(standing: Standing, headway: Headway | None, now: datetime) -> str:
    """Say what a run that has not ended does, or waits for, and what would change it."""
    attempts = f"of {standing.max_attempts}"
    if standing.status is Status.RUNNING:
        said = "" if headway is None else f": {progress_words(headway)}"
        return f"is running, attempt {standing.attempt} {attempts}{said}"
    if standing.all_paused:
        return "waits: every job is paused; `service resume --all` lets all go on"
    if standing.job_paused:
        job = standing.job_id
        return f"waits: {job} is paused; `service resume {job}` lets it go on"
    ahead = (standing.due_at - now) / timedelta(seconds=1)
    if ahead > 0:
        return f"waits: attempt {standing.attempt + 1} {attempts} is due in {duration(ahead)}"
    return f"waits for a runner, or for room under the limits of {standing.job_id}"


@attrs.define
class Teller:
    """On a terminal, one line that changes; else a line for each change."""

    _run_id: str
    _spinner: Spinner
    _told: tuple[Standing, Headway | None] | None = None

    def tell(self, standing: Standing, headway: Headway | None) -> None:
        """Say where the run stands."""
        stands = where_it_stands(standing, headway, datetime.now(UTC))
        words = visible(f"run {self._run_id} {stands}")  # a task may note anything
        self._spinner.update(Text(words))
        if not self._spinner.console.is_terminal and self._told != (standing, headway):
            click.echo(words, err=True)
        self._told = (standing, headway)


def _standing(settings: Settings, run_id: str) -> Standing:
    standing = ask_service(settings, ReadStanding(run_id))
    if standing is None:
        raise no_run(run_id)
    return standing
