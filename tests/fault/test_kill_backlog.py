"""A backlog delays neither the start nor those that a crash interrupted."""

from pathlib import Path

from tests.torture import backlog


def test_orphan_goes_first_and_health_does_not_wait(home: Path) -> None:
    """With 100,000 runs queued the orphan runs first, and health is good long before the last."""
    summary = backlog.attack(home, queued=100_000)
    print(summary)  # noqa: T201 - shown when it fails
    assert summary.first == backlog.ORPHAN
    assert summary.left_at_first_health > 0
