"""What a task is told about the attempt that it is."""

from datetime import datetime

import attrs

from service.core.run import Trigger
from service.observability.logs import Logger

__all__ = ["Context"]


@attrs.frozen(kw_only=True)
class Context:
    """One attempt of one run, as its task sees it."""

    run_id: str
    job_id: str
    attempt: int
    """1 is the first."""
    max_attempts: int
    trigger: Trigger
    tick: datetime | None
    """The nominal time of a cron run, in UTC; None for every other run."""
    log: Logger
    """Every line carries the run's id, its job, its trigger and the attempt."""
