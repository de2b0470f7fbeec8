"""Whose run is next, when several jobs have runs that are due.

Theory of operation
-------------------
Higher priority goes first. Among equals the job with the fewest runs at work goes first, so that
a flooded job gets its share of the runners and no more; among those, the one whose last turn is
the longest ago, so that a single runner, too, goes round. Within a job the order is that of the
queue. All of it is decided anew for each runner that comes free: nothing is reserved, and a job
that is alone gets every runner.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence

import attrs

__all__ = ["Line", "foremost", "take_turns"]


@attrs.frozen(kw_only=True)
class Line:
    """The runs of one job that wait, and may begin."""

    job_id: str
    priority: int
    running: int
    last_turn: int
    """A number that grows with every turn; 0 if the job had none yet."""
    due_at: int
    """When its first run is due; orders jobs that had no turn yet."""
    room: int
    """How many of its runs may begin now."""

    @property
    def rank(self) -> tuple[int, int, int, int, str]:
        """The lower, the sooner."""
        return (-self.priority, self.running, self.last_turn, self.due_at, self.job_id)


def foremost(lines: Iterable[Line], slots: int) -> list[Line]:
    """Return the lines among which `slots` turns are taken: the others are too far behind."""
    return heapq.nsmallest(slots, lines, key=lambda line: line.rank)


def take_turns(lines: Sequence[Line], ready: Mapping[str, Sequence[int]], slots: int) -> list[int]:
    """Give out `slots` runners, or as many as there are runs `ready` by job, in their order."""
    waiting = {line.job_id: iter(ready[line.job_id]) for line in lines}
    places = [line.rank for line in lines]
    heapq.heapify(places)
    turn = max((line.last_turn for line in lines), default=0)
    taken: list[int] = []
    while places and len(taken) < slots:
        priority, running, _, due_at, job_id = heapq.heappop(places)
        run = next(waiting[job_id], None)
        if run is not None:
            taken.append(run)
            turn += 1
            heapq.heappush(places, (priority, running + 1, turn, due_at, job_id))
    return taken
