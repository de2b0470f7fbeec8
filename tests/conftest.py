from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import short_home


@pytest.fixture
def home() -> Iterator[Path]:
    with short_home() as folder:
        yield folder
