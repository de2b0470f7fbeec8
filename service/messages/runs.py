"""What is asked about runs: the queue, what became of them, and when they are forgotten."""

from datetime import datetime, timedelta

import attrs

from service.core.run import Run, Status, Trigger
from service.messages.question import Question


@attrs.frozen(kw_only=True)
class Accepted:
    """A run is on disk; `replayed` says that the delivery had been seen before."""

    run_id: str
    job_id: str
    replayed: bool


@attrs.frozen(kw_only=True)
class Delivery:
    """What makes two requests one: a `key` seen within the `window` never starts a second run.

    The `id` is what the caller sent; the key also says whose numbering it belongs to.
    """

    key: str
    id: str
    window: timedelta


@attrs.frozen(kw_only=True)
class Enqueue(Question[Accepted]):
    """Put a run in the queue, unless its delivery was seen before."""

    run_id: str
    job_id: str
    trigger: Trigger
    payload: str
    max_attempts: int
    delivery: Delivery | None = None
    trace_context: str | None = None


@attrs.frozen
class Claim(Question[Run]):
    """Take the run whose turn it is; waits until there is one that may begin."""


@attrs.frozen
class Finish(Question[bool]):
    """End a running run. True if this claim still held it (or had ended it the same way)."""

    run_id: str
    claim: int
    status: Status
    result: str


@attrs.frozen
class Retry(Question[bool]):
    """Put a running run back until `due_at`, with the result of the attempt that failed."""

    run_id: str
    claim: int
    due_at: datetime
    result: str


@attrs.frozen
class Release(Question[bool]):
    """Put an interrupted run back in the queue and give its attempt back."""

    run_id: str
    claim: int


@attrs.frozen
class Recovered:
    """What a start found: runs queued again, and runs ended because they keep crashing."""

    requeued: int
    poisoned: tuple[Run, ...]


@attrs.frozen
class Recover(Question[Recovered]):
    """Take in a batch of at most `limit` runs that were running when the process died."""

    limit: int


@attrs.frozen(kw_only=True)
class RunFilter:
    """Which runs to list, newest first; None means any."""

    job_id: str | None = None
    status: Status | None = None
    trigger: Trigger | None = None
    since: datetime | None = None
    limit: int = 50


@attrs.frozen
class Listed:
    """Some of the runs that match, newest first; `before` is where to look on, None at the end."""

    runs: tuple[Run, ...]
    before: int | None


@attrs.frozen
class ListRuns(Question[Listed]):
    """Read the runs that match, from the newest on or from where an earlier list ended."""

    filter: RunFilter
    before: int | None = None


@attrs.frozen
class GetRun(Question["Run | None"]):
    """Read one run by its whole id."""

    run_id: str


@attrs.frozen
class Probe(Question[None]):
    """Answered when the store commits; a real write is tried if the last one failed or is old."""


@attrs.frozen
class Pruned:
    """What was forgotten, and how many pages of the file were given back.

    `last` is the run that was looked at last, None at the end.
    """

    runs: int
    others: int
    pages: int
    last: int | None

    @property
    def nothing_left(self) -> bool:
        """Whether another batch would find nothing to forget, and nothing to give back."""
        return self.last is None and not (self.others or self.pages)


@attrs.frozen(kw_only=True)
class Prune(Question[Pruned]):
    """Forget a batch of at most `limit` finished runs, and as many ticks and deliveries.

    Runs are looked at in the order in which they came, those behind `after`.
    """

    after: int
    finished_before: datetime
    ticks_before: datetime
    seen_before: datetime
    limit: int
    dry: bool = False
    """Only tell how many runs there are; nothing is forgotten."""


@attrs.frozen(kw_only=True)
class Measured:
    """How much waits, up to a bound; when the first of it is due; and how large the files are."""

    queued: int
    oldest_due: datetime | None
    database_bytes: int
    wal_bytes: int


@attrs.frozen
class Measure(Question[Measured]):
    """Measure the queue and the files."""
