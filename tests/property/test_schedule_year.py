"""A year of cron under every policy, while clocks step and the process dies: nothing is lost."""

from datetime import UTC, datetime, timedelta
from itertools import count, islice
from operator import attrgetter
from random import Random

import attrs
import pytest

from service.core.audit import audit
from service.core.cronjob import CatchUp, CronJob, Overlap
from service.core.schedule import next_tick, ticks
from service.core.tick import CronState, TickOutcome, TickRecord
from service.core.ticking import Decision, decide

START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
HOUR = timedelta(hours=1)


@attrs.define
class Store:
    """What a store would hold of one job, with runs that begin and end at random."""

    random: Random
    watermark: datetime = START
    records: list[TickRecord] = attrs.field(factory=list)
    queued: int = 0
    running: int = 0

    def commit(self, decision: Decision) -> None:
        assert decision.watermark >= self.watermark
        self.watermark = decision.watermark
        if decision.cancel_previous:
            self.queued = self.running = 0
        self.queued += len(decision.runs)
        self.records += decision.records
        self.records += [
            TickRecord(first=run.tick, last=run.tick, count=1, outcome=TickOutcome.RAN)
            for run in decision.runs
        ]

    def let_runs_go_on(self) -> None:
        started = self.random.randint(0, self.queued)
        ended = self.random.randint(0, self.running)
        self.queued, self.running = self.queued - started, self.running + started - ended


def wall_clock_step(random: Random) -> timedelta:
    """Mostly none; else seconds, an hour or a day, forward or back."""
    if random.random() < 0.98:
        return timedelta()
    return random.choice((-1, 1)) * random.choice((timedelta(seconds=9), HOUR, 24 * HOUR))


@pytest.mark.parametrize("overlap", ["skip", "allow", "queue_one", "cancel_previous"])
@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
@pytest.mark.parametrize(
    ("schedule", "timezone"),
    [
        ("17 */6 * * *", "UTC"),
        ("30 1-3 * * *", "Europe/Berlin"),
        ("*/15 30 2 * * *", "Africa/Cairo"),
    ],
)
def test_a_year_leaves_no_difference(
    schedule: str, timezone: str, catch_up: CatchUp, overlap: Overlap
) -> None:
    """After a year of stops, stalls and clock steps every tick has exactly one record."""
    job = CronJob(
        id="job",
        schedule=schedule,
        timezone=timezone,
        job_id="task",
        catch_up=catch_up,
        catch_up_window=5 * 3600,
        catch_up_max=3,
        overlap=overlap,
    )
    compiled = job.compiled(default_timezone="UTC")
    random = Random(f"{job}")
    store = Store(random)
    real, error = START, timedelta()
    for awake in count():
        if real >= START + YEAR:
            break
        error += wall_clock_step(random)
        now = real + error
        state = CronState(watermark=store.watermark, queued=store.queued, running=store.running)
        decision = decide(job, compiled, state, now)
        if random.random() > 0.01:  # else the process dies before the commit
            check(job, state, decision, now)
            store.commit(decision)
        store.let_runs_go_on()
        real = max(real + timedelta(seconds=random.random()), next_tick(compiled, now) - error)
        if awake % 50 == 49:
            real += random.random() ** 4 * timedelta(days=9)
    assert store.watermark > START + 0.9 * YEAR
    assert not list(audit(compiled, START, store.watermark, store.records))
    listed = ticks(compiled, START, store.watermark)
    for record in sorted(store.records, key=attrgetter("first")):
        recorded = list(islice(listed, record.count))
        assert [recorded[0], recorded[-1]] == [record.first, record.last]
    assert not list(listed)


def check(job: CronJob, state: CronState, decision: Decision, now: datetime) -> None:
    """Hold the decision against the words of the policies."""
    assert decision.watermark <= max(now, state.watermark)
    if job.overlap == "skip":
        assert not (decision.runs and state.active)
    if job.overlap == "queue_one":
        assert not (decision.runs and state.queued)
    assert decision.cancel_previous == (
        job.overlap == "cancel_previous" and bool(decision.runs) and state.active > 0
    )
    assert len(decision.runs) <= (3 if job.catch_up == "all" else 1)
    oldest = timedelta(seconds=60) if job.catch_up == "none" else 5 * HOUR
    assert all(now - oldest <= run.tick <= now for run in decision.runs)
