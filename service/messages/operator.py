"""What an operator asks for: questions to the store, and orders that the service carries out."""

from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import attrs

from service.core.run import Status, Trigger
from service.messages.question import Question

V_co = TypeVar("V_co", covariant=True)


class Order(Generic[V_co]):
    """Something that takes more than the store: the running service does it, and answers a `V`."""


@attrs.frozen
class FindRuns(Question[tuple[str, ...]]):
    """Read the ids that begin with `prefix`, at most `limit` of them."""

    prefix: str
    limit: int


@attrs.frozen(kw_only=True)
class Standing:
    """Where a run stands; while it is queued, what it waits for."""

    job_id: str
    status: Status
    attempt: int
    max_attempts: int
    due_at: datetime
    job_paused: bool
    all_paused: bool


@attrs.frozen
class ReadStanding(Question["Standing | None"]):
    """Read where a run stands, without all that belongs to it. None if there is none of that id."""

    run_id: str


@attrs.frozen(kw_only=True)
class Cancelled:
    """A run that was to be cancelled: how it stood before, and so whether it was."""

    job_id: str
    trigger: Trigger
    was: Status


@attrs.frozen
class CancelRun(Question["Cancelled | None"]):
    """End a run that has not ended. None if there is none of that id."""

    run_id: str


@attrs.frozen
class ListTasks(Order[tuple[str, ...]]):
    """Name the tasks that are registered."""


@attrs.frozen
class TriggerRun(Order[str]):
    """Put a run of a task in the queue, with a payload in JSON; the verdict is the run's id."""

    job_id: str
    payload: str


@attrs.frozen
class RetryRun(Order[str]):
    """Put a new run with the job and the payload of one that has ended in the queue."""

    run_id: str


@attrs.frozen
class PauseJobs(Question[bool]):
    """Let the runs of a job wait, or of every job: None. False if it was so before."""

    job_id: str | None


@attrs.frozen
class ResumeJobs(Question[bool]):
    """Let the runs of a job go on, or of every job: None. False if none was paused."""

    job_id: str | None


@attrs.frozen
class ListPausedJobs(Question[tuple[str | None, ...]]):
    """Name the jobs that are paused; None stands for every job."""


@attrs.frozen
class Copied:
    """How far a copy of the database is; when it is `done`, it is whole."""

    pages: int
    of_pages: int
    done: bool = False


@attrs.frozen
class CopyPages(Question[Copied]):
    """Copy the next pages of the database into a file, which the first asking makes.

    Answered in no transaction. Raises BackupFailed.
    """

    target: Path


@attrs.frozen
class GiveUpCopy(Question[None]):
    """End a copy that is not wanted any more, if it is still under way."""

    target: Path


@attrs.frozen(kw_only=True)
class BackedUp:
    """A backup that is whole and checked."""

    path: Path
    size_bytes: int


@attrs.frozen
class BackUp(Order[BackedUp]):
    """Put a copy of the database at an absolute path on the service's machine."""

    path: Path
