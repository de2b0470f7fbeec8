"""What many runs come to, job by job."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import attrs

from service.core.run import Status

__all__ = ["JobSummary", "Tally", "percentile"]


@attrs.frozen(kw_only=True)
class JobSummary:
    """How the runs of a job ended, and how long their last attempts took, in seconds."""

    runs: int = 0
    ok: int = 0
    failed: int = 0
    cancelled: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None


@attrs.frozen
class Tally:
    """Counts runs as they are told of."""

    _statuses: defaultdict[str, Counter[Status]] = attrs.field(
        factory=lambda: defaultdict(Counter), init=False
    )
    _seconds: defaultdict[str, list[float]] = attrs.field(
        factory=lambda: defaultdict(list), init=False
    )

    def add(self, job_id: str, status: Status, seconds: float | None) -> None:
        """Count a run; `seconds` is None for one that has not ended, or never began."""
        self._statuses[job_id][status] += 1
        if seconds is not None:
            self._seconds[job_id].append(seconds)

    def summaries(self) -> dict[str, JobSummary]:
        """Return what they come to, in the order of the jobs' names."""
        return {job_id: self._summary(job_id) for job_id in sorted(self._statuses)}

    def _summary(self, job_id: str) -> JobSummary:
        statuses, seconds = self._statuses[job_id], sorted(self._seconds[job_id])
        return JobSummary(
            runs=statuses.total(),
            ok=statuses[Status.OK],
            failed=statuses[Status.ERROR],
            cancelled=statuses[Status.CANCELLED],
            p50_seconds=percentile(seconds, 50),
            p95_seconds=percentile(seconds, 95),
        )


def percentile(ascending: Sequence[float], percent: int) -> float | None:
    """Return the least value that `percent` of them do not exceed (nearest rank)."""
    if not ascending:
        return None
    return ascending[max(-(-len(ascending) * percent // 100), 1) - 1]
