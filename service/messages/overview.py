"""What is asked about what goes on: running, waiting, new, and how runs ended lately."""

from datetime import datetime

import attrs

from service.core.run import Run, Status
from service.messages.question import Question


@attrs.frozen(kw_only=True)
class RunningRun:
    """A run that a runner works on."""

    id: str
    job_id: str
    attempt: int
    max_attempts: int
    started_at: datetime


@attrs.frozen(kw_only=True)
class JobQueue:
    """What waits of a job, counted up to a bound, and since when the first of it is due."""

    job_id: str
    queued: int
    oldest_due: datetime


@attrs.frozen(kw_only=True)
class Overview:
    """What goes on at an instant; `last` counts the runs that were ever accepted."""

    at: datetime
    last: int
    running: tuple[RunningRun, ...]
    queues: tuple[JobQueue, ...]


@attrs.frozen
class ReadOverview(Question[Overview]):
    """Read what goes on."""


@attrs.frozen
class Outcome:
    """How a run stands, and how long its last attempt took in seconds, if it has ended."""

    job_id: str
    status: Status
    seconds: float | None


@attrs.frozen
class Outcomes:
    """A page of outcomes, the newest first; `before` asks for the next page, None at the end."""

    outcomes: tuple[Outcome, ...]
    before: int | None


@attrs.frozen(kw_only=True)
class ReadOutcomes(Question[Outcomes]):
    """Read a page of how the runs stand that were created since an instant."""

    before: int | None
    since: datetime
    limit: int


@attrs.frozen(kw_only=True)
class News:
    """Runs that are new, and those that were watched; `last` asks for what comes next."""

    last: int
    runs: tuple[Run, ...]


@attrs.frozen(kw_only=True)
class ReadNews(Question[News]):
    """Read up to `limit` runs accepted after `after`, None being now, and the `watched` ones."""

    after: int | None
    watched: tuple[str, ...]
    limit: int


@attrs.frozen(kw_only=True)
class PastAttempt:
    """An attempt that did not end its run: retried, suspended, interrupted, crashed."""

    attempt: int
    started_at: datetime
    ended_at: datetime
    ending: str
    message: str | None


@attrs.frozen
class RecordedStep:
    """A step that is done; later attempts get what it returned."""

    name: str
    recorded_at: datetime


@attrs.frozen
class Story:
    """What happened to a run before its last attempt ended, the oldest first, up to a bound."""

    attempts: tuple[PastAttempt, ...]
    steps: tuple[RecordedStep, ...]


@attrs.frozen
class ReadStory(Question[Story]):
    """Read what happened to a run; nothing if there is none of that id."""

    run_id: str
