"""Facts that tests need and do not care about."""

from datetime import UTC, datetime
from typing import Final

from service.core.run import Run, Status, Trigger

NOON: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)

RUN: Final = Run(
    id="run-1",
    job_id="echo",
    status=Status.RUNNING,
    trigger=Trigger.WEBHOOK,
    attempt=1,
    max_attempts=4,
    crashes=0,
    claim=1,
    payload="null",
    result=None,
    created_at=NOON,
    due_at=NOON,
    started_at=NOON,
    finished_at=None,
    delivery_id=None,
    cron_id=None,
    tick=None,
    trace_context=None,
)
