"""kill -9 at random moments under load; `make torture` does the same for as long as asked."""

from pathlib import Path

import pytest

from tests.torture import kills


@pytest.mark.parametrize(("seed", "rounds"), [(1, 13), (2, 12)])
def test_kills_lose_nothing_and_repeat_nothing(home: Path, seed: int, rounds: int) -> None:
    """Every answered run is stored and ends, once; no delivery or tick makes two runs."""
    summary = kills.attack(home, kills=rounds, seed=seed)
    print(summary)  # noqa: T201 - shown when it fails
    assert summary.answered
