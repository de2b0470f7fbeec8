"""What a job's policies make of the ticks that came due."""

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from service.core.cronjob import CatchUp, CronJob, Overlap
from service.core.tick import CronState, TickOutcome, TickRecord
from service.core.ticking import Decision, DueRun, decide

HOURLY = CronJob(id="hourly", schedule="0 * * * *", job_id="task")
SECOND = timedelta(seconds=1)


def at(hour: int, minute: int = 0, second: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 6, day, hour, minute, second, tzinfo=UTC)


def decided(
    job: CronJob, watermark: datetime, now: datetime, *, queued: int = 0, running: int = 0
) -> Decision:
    state = CronState(watermark=watermark, queued=queued, running=running)
    return decide(job, job.compiled(default_timezone="UTC"), state, now)


def ran(decision: Decision) -> list[datetime]:
    return [run.tick for run in decision.runs]


def record(first: datetime, last: datetime, count: int, outcome: TickOutcome) -> TickRecord:
    return TickRecord(first=first, last=last, count=count, outcome=outcome)


def test_a_tick_on_time_runs() -> None:
    """The everyday case: one tick came due, and nothing else is recorded."""
    assert decided(HOURLY, at(8), at(9, 0, 1)) == Decision(
        watermark=at(9), runs=(DueRun(at(9), at(9)),)
    )


def test_nothing_is_due_between_ticks() -> None:
    """Without a tick the watermark stays where it is, and there is nothing to commit."""
    assert decided(HOURLY, at(8), at(8, 59, 59)) == Decision(watermark=at(8))


@pytest.mark.parametrize("job", [HOURLY, attrs.evolve(HOURLY, enabled=False)])
def test_a_step_back_decides_nothing(job: CronJob) -> None:
    """What the watermark has passed is not decided again, however far the clock goes back."""
    for now in (at(8), at(7, 59, 59), at(3), at(8, day=1), datetime(1970, 1, 1, tzinfo=UTC)):
        assert decided(job, at(8), now) == Decision(watermark=at(8))


def test_a_step_forward_is_a_catch_up() -> None:
    """A clock that jumps by a day leaves ticks behind, as a day without the service does."""
    decision = decided(HOURLY, at(8), at(8, 30, day=11))
    assert ran(decision) == [at(8, day=11)]
    assert decision.records == (record(at(9), at(7, day=11), 23, TickOutcome.COALESCED),)


def test_latest_runs_one_of_many() -> None:
    """`latest` runs the newest tick; those in the window are coalesced, older ones are missed."""
    decision = decided(HOURLY, at(8), at(8, 30, day=13))
    assert ran(decision) == [at(8, day=13)]
    assert decision.records == (
        record(at(9), at(8, day=12), 48, TickOutcome.MISSED),
        record(at(9, day=12), at(7, day=13), 23, TickOutcome.COALESCED),
    )
    assert decision.watermark == at(8, day=13)


def test_all_runs_the_newest_up_to_its_count() -> None:
    """`all` runs what window and count allow; the rest is missed, in one record."""
    job = attrs.evolve(HOURLY, catch_up="all", catch_up_max=3)
    decision = decided(job, at(8), at(8, 30, day=13))
    assert ran(decision) == [at(6, day=13), at(7, day=13), at(8, day=13)]
    assert decision.records == (record(at(9), at(5, day=13), 69, TickOutcome.MISSED),)


def test_none_runs_only_what_is_on_time() -> None:
    """`none` misses a tick that is a minute old, and runs one that is younger."""
    job = attrs.evolve(HOURLY, catch_up="none")
    assert ran(decided(job, at(8), at(9, 0, 59))) == [at(9)]
    late = decided(job, at(8), at(9, 1))
    assert not late.runs
    assert late.records == (record(at(9), at(9), 1, TickOutcome.MISSED),)
    assert late.watermark == at(9)


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
def test_a_window_of_nothing_still_runs_what_is_on_time(catch_up: CatchUp) -> None:
    """A tick is always noticed a moment late: that is no reason to miss it."""
    job = attrs.evolve(HOURLY, catch_up=catch_up, catch_up_window=0)
    assert ran(decided(job, at(7), at(9, 0, 30))) == [at(9)]


@pytest.mark.parametrize(
    ("overlap", "queued", "running", "runs", "cancels"),
    [
        ("skip", 0, 0, True, False),
        ("skip", 1, 0, False, False),
        ("skip", 0, 1, False, False),
        ("allow", 3, 5, True, False),
        ("queue_one", 0, 2, True, False),
        ("queue_one", 1, 1, False, False),
        ("cancel_previous", 0, 0, True, False),
        ("cancel_previous", 0, 1, True, True),
        ("cancel_previous", 1, 0, True, True),
    ],
)
def test_overlap(overlap: Overlap, queued: int, running: int, runs: bool, cancels: bool) -> None:  # noqa: FBT001 - expected values
    """A tick that may not overlap an earlier run is skipped, and is never silently lost."""
    job = attrs.evolve(HOURLY, overlap=overlap)
    decision = decided(job, at(8), at(9, 0, 1), queued=queued, running=running)
    assert decision.cancel_previous is cancels
    assert ran(decision) == ([at(9)] if runs else [])
    skipped = (record(at(9), at(9), 1, TickOutcome.SKIPPED),)
    assert decision.records == (() if runs else skipped)
    assert decision.watermark == at(9)


def test_a_catch_up_does_not_overlap_itself() -> None:
    """Ticks that `all` catches up together run together, but not beside an earlier run."""
    job = attrs.evolve(HOURLY, catch_up="all")
    assert len(decided(job, at(8), at(12)).runs) == 4
    blocked = decided(job, at(8), at(12), running=1)
    assert not blocked.runs
    assert blocked.records == (record(at(9), at(12), 4, TickOutcome.SKIPPED),)


def test_nothing_is_cancelled_for_nothing() -> None:
    """A run goes on when the tick that would have replaced it does not run."""
    job = attrs.evolve(HOURLY, catch_up="none", overlap="cancel_previous")
    assert not decided(job, at(8), at(9, 30), running=1).cancel_previous


def test_a_disabled_job_misses_all_its_ticks() -> None:
    """The ticks of a job that is not enabled are recorded as one range, and none runs later."""
    job = attrs.evolve(HOURLY, enabled=False)
    assert decided(job, at(8), at(12, 30)) == Decision(
        watermark=at(12), records=(record(at(9), at(12), 4, TickOutcome.MISSED),)
    )


def test_an_ancient_watermark_costs_no_list() -> None:
    """Every second of fifty years is decided without listing them."""
    job = CronJob(id="job", schedule="* * * * * *", job_id="task", timezone="Europe/Berlin")
    since, now = datetime(1976, 1, 1, tzinfo=UTC), at(12)
    decision = decided(job, since, now)
    assert ran(decision) == [now]
    assert sum(each.count for each in decision.records) == (now - since).total_seconds() - 1
    assert [each.outcome for each in decision.records] == ["missed", "coalesced"]


def test_jitter_is_as_good_as_random_and_always_the_same() -> None:
    """A jittered run is due in [tick, tick + jitter), spread evenly, the same when asked again."""
    job = attrs.evolve(HOURLY, jitter=600)
    delays = []
    for day in range(1, 31):
        for hour in range(1, 24):
            tick = at(hour, day=day)
            [run] = decided(job, tick - SECOND, tick).runs
            assert decided(job, tick - SECOND, tick + SECOND).runs == (run,)
            delays.append((run.due_at - run.tick).total_seconds())
    assert 0 <= min(delays) < 10
    assert 590 < max(delays) < 600
    assert 280 < sum(delays) / len(delays) < 320
    other = attrs.evolve(job, id="other")
    assert decided(other, at(8), at(9)).runs != decided(job, at(8), at(9)).runs
