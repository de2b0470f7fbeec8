"""A popular alternative in the same run: FastAPI and huey, where they are installed."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

from tests.bench.load import Load, press
from tests.bench.rows import Row, drained, median
from tests.bench.sides import free_port, service, short_home, wait_for
from tests.bench.store_files import query
from tests.harness import ROOT, environ_for, until

__all__ = ["peer"]

NEEDED: Final = ("fastapi", "huey", "uvicorn")


def peer(rounds: int, seconds: float) -> Iterator[Row]:
    """Accepting and performing against FastAPI with huey on SQLite, as durable as ours."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        click.echo(f"no peer to measure: pip install {' '.join(missing)}", err=True)
        return
    ours: list[Load] = []
    theirs: list[Load] = []
    rates, others = [], []
    with (
        short_home() as home,
        service(home) as (side, _),
        short_home() as other,
        _huey(other) as port,
    ):
        for _ in range(rounds):
            begun = time.monotonic()
            theirs.append(press(port, seconds=seconds))
            until(lambda: not _waiting(other), "huey has nothing to do", seconds=600)
            others.append(theirs[-1].per_second * seconds / (time.monotonic() - begun))
            begun = time.monotonic()
            ours.append(press(side.port, seconds=seconds))
            drained(home)
            rates.append(ours[-1].per_second * seconds / (time.monotonic() - begun))
    assert not any(load.failed for load in (*ours, *theirs))
    yield Row("FastAPI + huey, accepted a second", median(theirs, "per_second"), "1/s")
    accepted = median(ours, "per_second") / median(theirs, "per_second")
    yield Row("accepted a second ÷ FastAPI + huey", accepted, "")
    completed = statistics.median(rates) / statistics.median(others)
    yield Row("complete runs a second ÷ FastAPI + huey", completed, "")
    p99 = median(ours, "p99_ms") / median(theirs, "p99_ms")
    yield Row("p99 of accepting ÷ FastAPI + huey", p99, "")


@contextmanager
def _huey(home: Path) -> Iterator[int]:
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.huey_app", role, str(port), str(home / "huey.db")],
            cwd=ROOT,
            env=environ_for(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for role in ("web", "work")
    ]
    try:
        wait_for(port)
        yield port
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _waiting(home: Path) -> float:
    return query(home / "huey.db", "SELECT count(*) FROM task")[0][0]
