"""A start with a long queue: the orphan runs first, and health does not wait for the rest."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs

from service.core.run import Trigger
from service.messages import Enqueue
from service.storage.database import Database
from service.storage.queries import Queue, answer
from tests.harness import launch, until
from tests.torture.executions import JOBS, Execution, executions

ORPHAN: Final = "orphan"
HEALTH_SECONDS: Final = 1
ORPHAN_SECONDS: Final = 2
"""What is promised, on a machine that is not busy with something else."""


@attrs.frozen
class Summary:
    """What was first, and how long it took from the start of the process, in seconds."""

    queued: int
    first: str
    left_at_first_health: int
    health_seconds: float
    orphan_seconds: float

    @property
    def in_time(self) -> bool:
        return self.health_seconds < HEALTH_SECONDS and self.orphan_seconds < ORPHAN_SECONDS

    def __str__(self) -> str:
        return (
            f"{self.queued:,} queued runs: healthy after {self.health_seconds:.2f} s (promised: "
            f"{HEALTH_SECONDS}), the first run ({self.first}) after {self.orphan_seconds:.2f} s "
            f"(promised: {ORPHAN_SECONDS})"
        )


def fill(store: Path, queued: int) -> None:
    """Leave a store as a kill leaves it: one run running, and many that wait behind it."""
    now = datetime.now(UTC) - timedelta(hours=1)
    database = Database.open(store)
    with database.transaction() as db:
        answer(_enqueue(ORPHAN), db, now)
        Queue({}).claim(db, now, 1)
    with database.transaction() as db:
        for number in range(queued):
            answer(_enqueue(f"waiting-{number}"), db, now + timedelta(seconds=1))
    database.close()


def _enqueue(run_id: str) -> Enqueue:
    return Enqueue(
        run_id=run_id, job_id="succeed", trigger=Trigger.WEBHOOK, payload="null", max_attempts=1
    )


def attack(home: Path, *, queued: int) -> Summary:
    """Start on a backlog and see what comes first; the process is killed before it is done."""
    fill(home / "data" / "runs.sqlite3", queued)
    began, clock = time.time(), time.monotonic()
    service = launch(home, JOBS, RUNNERS="1")  # several would start together, in any order
    try:
        service.ready()
        answered = service.client.get("/_health")
        health = time.monotonic() - clock
        left = queued + 1 - len(executions(home))
        assert (answered.status_code, answered.json()) == (200, {"status": "ok"})

        def first_execution() -> Execution | None:
            return next(iter(executions(home)), None)

        first = until(first_execution, "a run runs")
    finally:
        service.kill()
        service.client.close()
    return Summary(
        queued=queued,
        first=first.run_id,
        left_at_first_health=left,
        health_seconds=health,
        orphan_seconds=first.at - began,
    )
