"""What piles up: measures of a store and a process that have much behind them."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from service.client import ask_service
from service.core.run import Status
from service.messages import PauseJobs, ReadOverview
from service.storage.database import Database
from service.storage.queries import answer
from tests.bench.load import Load, press
from tests.bench.rows import DATABASE, Row, drained, median
from tests.bench.sides import JOBS, Side, service, short_home
from tests.bench.store_files import fill, query
from tests.harness import Service, until

__all__ = ["grown", "memory"]

FINISHED: Final = 10_000_000
QUEUED: Final = 1_000_000
QUEUED_ELSEWHERE: Final = 100_000
"""More than are run during the measure, in the store that is otherwise empty."""

BOTH_JOBS: Final = JOBS + JOBS.replace("noop", "waiting")


def grown(rounds: int, seconds: float) -> Iterator[Row]:
    """A store of ten million finished and a million queued runs against an empty one."""
    with short_home() as full, short_home() as empty:
        fill(full / DATABASE, FINISHED, "finished", age=timedelta(days=30))
        fill(full / DATABASE, QUEUED, "queued", age=timedelta(hours=1), job_id="waiting")
        fill(empty / DATABASE, QUEUED_ELSEWHERE, "queued", age=timedelta(hours=1), job_id="waiting")
        for home in (full, empty):
            _pause(home)
        with (
            service(full, jobs=BOTH_JOBS) as (big, laden),
            service(empty, jobs=BOTH_JOBS) as (small, light),
        ):
            yield from _accepting((big, laden), (small, light), rounds, seconds)
            yield from _listing(laden, rounds, "the service asked")
            spans = [(_resumed(laden, seconds), _resumed(light, seconds)) for _ in range(rounds)]
            for running in (laden, light):
                running.stop()
        ours = statistics.median(_performed(full, span) for span, _ in spans)
        others = statistics.median(_performed(empty, span) for _, span in spans)
        yield Row("claimed and performed a second ÷ empty store", ours / others, "", "≥ 0.9")
        yield from _listing(laden, rounds, "the file asked")


def _pause(home: Path) -> None:
    """Let what is queued wait until it is resumed."""
    with closing(Database.open(home / DATABASE)) as database, database.transaction() as db:
        answer(PauseJobs("waiting"), db, datetime.now(UTC))


def _accepting(
    laden: tuple[Side, Service], light: tuple[Side, Service], rounds: int, seconds: float
) -> Iterator[Row]:
    """Press both, each while the other rests; they take turns at being the first."""
    ours: list[Load] = []
    others: list[Load] = []
    turns = [(laden, ours), (light, others)]
    for _ in range(rounds):
        turns.reverse()
        for (side, running), loads in turns:
            loads.append(press(side.port, seconds=seconds))
            until(partial(_rests, running), "what was accepted has been performed", seconds=600)
    speed = median(ours, "per_second") / median(others, "per_second")
    yield Row(f"accepted a second, {FINISHED + QUEUED:,} runs ÷ empty store", speed, "", "≥ 0.95")
    memory = laden[0].memory_mib() / light[0].memory_mib()
    yield Row("memory, the same ÷ empty store", memory, "", "≤ 1.3")


def _rests(running: Service) -> bool:
    """Tell whether nothing runs, and nothing waits but what is paused."""
    found = ask_service(running.settings, ReadOverview())
    return not found.running and all(queue.job_id == "waiting" for queue in found.queues)


def _resumed(running: Service, seconds: float) -> tuple[float, float]:
    """Let what waits go on for a while; return from when to when, by the wall clock."""
    assert running.command("resume", "waiting").returncode == 0
    begun = time.time()
    time.sleep(seconds)
    ended = time.time()
    assert running.command("pause", "waiting").returncode == 0
    return begun, ended


def _performed(home: Path, span: tuple[float, float]) -> float:
    """Return how many runs a second ended within a time."""
    micros = " AND ".join(str(int(moment * 1e6)) for moment in span)
    done = query(
        home / DATABASE,
        f"SELECT count(*) FROM runs WHERE job_id = 'waiting' AND finished_at BETWEEN {micros}",  # noqa: S608
    )[0][0]
    return done / (span[1] - span[0])


def _listing(running: Service, rounds: int, how: str) -> Iterator[Row]:
    """How long `service runs` takes beyond the start of the interpreter."""
    for status in Status:
        listed, started = [], []
        for _ in range(rounds):
            started.append(_seconds(running, "-c", "pass"))
            words = ("-m", "service", "runs", "--job-id", "noop", "--status", status)
            listed.append(_seconds(running, *words))
        beyond = statistics.median(listed) - statistics.median(started)
        yield Row(f"`service runs --job-id noop --status {status}`, {how}", beyond, "s", "≤ 0.2")


def _seconds(running: Service, *words: str) -> float:
    begun = time.monotonic()
    subprocess.run(
        [sys.executable, *words],
        cwd=running.home,
        env=running.environ,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begun


def memory(_rounds: int, _seconds: float) -> Iterator[Row]:
    """What the process holds when idle, and after many runs."""
    with short_home() as home, service(home) as (side, _):
        time.sleep(2)
        yield Row("memory, idle", side.memory_mib(), "MiB", "≤ 90")
        done, held = 0.0, []
        for total in (100_000, 300_000):
            while done < total:
                done += press(side.port, seconds=10).per_second * 10
            drained(home)
            held.append(side.memory_mib())
    yield Row("memory, after 100,000 runs", held[0], "MiB")
    yield Row("memory, after 300,000 runs ÷ after 100,000", held[1] / held[0], "", "1")
