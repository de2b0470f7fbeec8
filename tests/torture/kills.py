"""kill -9 under load, again and again: what was answered stands, and nothing happens twice.

After every kill the store is read from a copy, so the next start finds it exactly as the kill left
it. What had ended by then must never change or run again.
"""

import random
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from tests.harness import START_SECONDS, Service, launch, until
from tests.torture.executions import CRON, JOBS, executions
from tests.torture.load import Answers, under_load
from tests.torture.postmortem import ENDED, PostMortem, Row

SETTINGS: Final = {"RUNNERS": "8", "LOG_LEVEL": "info", "SHUTDOWN_GRACE_SECONDS": "5"}
ANSWERS_BEFORE_KILL: Final = 120
EARLY_KILLS: Final = 0.15
"""The share of kills that do not wait until the service has started."""


@attrs.frozen
class Summary:
    """What an attack came to."""

    seed: int
    kills: int
    answered: int
    replayed: int
    runs: int
    executions: int
    ended_by_crashes: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.answered} deliveries answered "
            f"({self.replayed} answered again), {self.runs} runs, {self.executions} executions, "
            f"{self.ended_by_crashes} runs ended by crashes"
        )


@attrs.define
class _Attack:
    home: Path
    seed: int
    rng: random.Random
    answers: Answers = attrs.field(factory=Answers)
    ended: Mapping[str, Row] = attrs.field(factory=dict)
    """Runs that had ended at the last look, and how."""
    known: set[str] = attrs.field(factory=set)
    """Runs that were in the store at the last look."""
    executed: int = 0
    """Executions that had begun at the last look."""

    @property
    def store(self) -> Path:
        return self.home / "data" / "runs.sqlite3"

    def strike(self, number: int) -> None:
        service = launch(self.home, JOBS + CRON, **SETTINGS)
        try:
            if number and self.rng.random() < EARLY_KILLS:
                with suppress(subprocess.TimeoutExpired):
                    service.process.wait(self.rng.random())
            else:
                self._strike_under_load(service.ready(), number)
        finally:
            service.kill()
            service.client.close()
        died_of = service.process.returncode
        assert died_of == -signal.SIGKILL, service.log_file.read_text(encoding="utf-8")

    def _strike_under_load(self, service: Service, number: int) -> None:
        enough = len(self.answers.run_of) + self.rng.randrange(ANSWERS_BEFORE_KILL)
        with under_load(service.client.base_url, self.answers, self.seed * 100_000 + number):
            until(lambda: len(self.answers.run_of) >= enough, "webhooks are answered")
            service.kill()

    def look(self) -> PostMortem:
        """Hold what the store says against what was promised."""
        found = PostMortem.of(self.store)
        begun = executions(self.home)
        assert found.faults == ()
        assert self.answers.faults == []
        lost = set(self.answers.run_of.values()) - found.runs.keys()
        assert not lost, "answered, but not in the store"
        assert self.known <= found.runs.keys(), "were in the store before"
        changed = {run_id for run_id, row in self.ended.items() if found.runs[run_id] != row}
        assert not changed, "changed after they had ended"
        again = {one.run_id for one in begun[self.executed :]} & self.ended.keys()
        assert not again, "ran after they had ended"
        self.ended = {run_id: row for run_id, row in found.runs.items() if row.ended}
        self.known = set(found.runs)
        self.executed = len(begun)
        return found

    def finish(self) -> PostMortem:
        """Let everything come to its end, and look a last time."""
        service = launch(self.home, JOBS + CRON, **SETTINGS).ready()
        try:
            open_runs = (self.known | set(self.answers.run_of.values())) - self.ended.keys()
            until(
                partial(_have_ended, service, sorted(open_runs)),
                "every run has ended",
                START_SECONDS + len(open_runs),
            )
            assert service.stop() == 0
        finally:
            service.kill()
            service.client.close()
        found = self.look()
        assert open_runs <= self.ended.keys()
        return found


def _have_ended(service: Service, waiting: list[str]) -> bool:
    """Drop from `waiting` the runs that have ended; True when none is left."""
    while waiting and service.run(waiting[-1])["status"] in ENDED:
        waiting.pop()
    return not waiting


def attack(home: Path, *, kills: int, seed: int) -> Summary:
    """Start the service, load it, kill it, and look; after `kills` rounds let it finish."""
    attacked = _Attack(home, seed, random.Random(seed))
    for number in range(kills):
        attacked.strike(number)
        attacked.look()
    found = attacked.finish()
    return Summary(
        seed=seed,
        kills=kills,
        answered=len(attacked.answers.run_of),
        replayed=attacked.answers.replayed,
        runs=len(found.runs),
        executions=attacked.executed,
        ended_by_crashes=sum("died" in (row.result or "") for row in found.runs.values()),
    )
