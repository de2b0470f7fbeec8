"""What `--wait` says of a run that has not ended."""

from datetime import timedelta

import attrs
import pytest

from service.cli.waiting import where_it_stands
from service.core.run import Status
from service.messages import Headway, Standing
from tests.stores import START

DUE = Standing(
    job_id="report",
    status=Status.QUEUED,
    attempt=1,
    max_attempts=4,
    due_at=START,
    job_paused=False,
    all_paused=False,
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "waits for a runner, or for room under the limits of report"),
        ({"due_at": START + timedelta(seconds=90)}, "waits: attempt 2 of 4 is due in 1 min 30 s"),
        ({"job_paused": True}, "waits: report is paused; `service resume report` lets it go on"),
        (
            {"job_paused": True, "all_paused": True},
            "waits: every job is paused; `service resume --all` lets all go on",
        ),
        ({"status": Status.RUNNING, "attempt": 2}, "is running, attempt 2 of 4"),
    ],
)
def test_the_reason_is_told(changes: dict[str, object], said: str) -> None:
    """Paused, due later, or behind others: each says what it waits for and what would change it."""
    standing = Standing(**{**attrs.asdict(DUE), **changes})
    assert where_it_stands(standing, None, START) == said


def test_progress_is_told() -> None:
    """A run that says how far it is is quoted."""
    standing = attrs.evolve(DUE, status=Status.RUNNING)
    headway = Headway(done=3, total=10, note="repos", at=START)
    assert where_it_stands(standing, headway, START).endswith("attempt 1 of 4: 3 of 10: repos")
