"""What commands say to a person."""

import pytest

from service.cli.facts import counted


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (12_345, "12,345 runs")]
)
def test_one_is_not_many(number: int, said: str) -> None:
    """A count agrees with its noun."""
    assert counted(number, "run") == said
