"""The measures: each yields rows of a name, a figure, and the goal it is held against."""

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from tests.bench.growth import grown, memory
from tests.bench.load import Load, paced, press
from tests.bench.peer import peer
from tests.bench.rows import DATABASE, Row, drained, median
from tests.bench.sides import JOBS, Side, bare, free_port, service, short_home
from tests.bench.store_files import fill, lateness_ms, percentile, query
from tests.harness import launch, until

__all__ = ["MEASURES"]


def accept(rounds: int, seconds: float) -> Iterator[Row]:
    """Durable accepted webhooks against bare, with runs going on beside it."""
    ours: list[Load] = []
    ceiling: list[Load] = []
    costs: list[float] = []
    least_costs: list[float] = []
    before = after = 0.0
    with bare() as base, short_home() as home, service(home) as (side, running):
        for _ in range(rounds):
            ceiling.append(_press(base, seconds, least_costs))
            before = time.time()
            ours.append(_press(side, seconds, costs))
            after = time.time()
        memory = side.memory_mib()
        drained(home)
        running.stop()
        done = query(
            home / DATABASE,
            f"SELECT count(*) FROM runs WHERE finished_at BETWEEN {before * 1e6} AND {after * 1e6}",  # noqa: S608
        )[0][0]
    assert not any(load.failed for load in (*ours, *ceiling))
    yield Row("bare, answers a second", median(ceiling, "per_second"), "1/s")
    speed = median(ours, "per_second") / median(ceiling, "per_second")
    yield Row("accepted a second ÷ bare", speed, "", "≥ 0.90")
    cost = statistics.median(costs) / statistics.median(least_costs)
    yield Row("processor time an answer, runs included ÷ bare", cost, "", "≤ 1.1")
    p99 = median(ours, "p99_ms") / median(ceiling, "p99_ms")
    yield Row("p99 of accepting ÷ bare", p99, "", "≤ 1.3")
    share = done / (ours[-1].per_second * seconds)
    yield Row("finished ÷ accepted, during the load", share, "", "≥ 0.5")
    yield Row("memory after the load", memory, "MiB")


def complete(rounds: int, seconds: float) -> Iterator[Row]:
    """Whole runs, from request to committed result, until the backlog is empty."""
    ratios = []
    with bare() as base, short_home() as home, service(home) as (side, _):
        for _ in range(rounds):
            ceiling = press(base.port, seconds=seconds)
            begun = time.monotonic()
            load = press(side.port, seconds=seconds)
            drained(home)
            whole = load.per_second * seconds / (time.monotonic() - begun)
            ratios.append(whole / ceiling.per_second)
    yield Row("complete runs a second ÷ bare", statistics.median(ratios), "", "≥ 0.80")


def start_latency(_rounds: int, seconds: float) -> Iterator[Row]:
    """From enqueue to start at a hundred webhooks a second."""
    with short_home() as home, service(home) as (side, running):
        paced(side.port, per_second=100, seconds=seconds)
        drained(home)
        running.stop()
        waits = lateness_ms(home / DATABASE, "created_at", "true")
    yield Row("enqueue to start, p50", percentile(waits, 0.5), "ms", "≤ 3")
    yield Row("enqueue to start, p99", percentile(waits, 0.99), "ms", "≤ 15")


def telemetry(rounds: int, seconds: float) -> Iterator[Row]:
    """Accepting with traces, logs and metrics on against the same with them off.

    Each round has processes of its own: one may be a tenth faster than its like for all its life.
    """
    on: list[Load] = []
    off: list[Load] = []
    for number in range(rounds):
        with (
            short_home() as home_on,
            short_home() as home_off,
            service(home_on) as (loud, _),
            service(home_off, telemetry=False) as (quiet, _),
        ):
            turns = [(home_off, quiet, off), (home_on, loud, on)]
            for home, side, loads in turns if number % 2 else reversed(turns):
                press(side.port, seconds=1)  # until it is warm
                loads.append(press(side.port, seconds=seconds))
                drained(home)  # or its runs would go on beside the other's load
    ratio = median(on, "per_second") / median(off, "per_second")
    yield Row("accepted a second, telemetry on ÷ off", ratio, "", "≥ 0.85")


def retention(rounds: int, seconds: float) -> Iterator[Row]:
    """Accepting while a million runs are forgotten against accepting with nothing to forget."""
    busy: list[Load] = []
    calm: list[Load] = []
    with short_home() as old, short_home() as young:
        fill(old / DATABASE, 1_000_000, "finished", age=timedelta(days=400))
        fill(young / DATABASE, 1_000_000, "finished", age=timedelta(hours=1))
        with service(old) as (pruning, _), service(young) as (resting, running):
            for _ in range(rounds):
                calm.append(press(resting.port, seconds=seconds, connections=8))
                busy.append(press(pruning.port, seconds=seconds, connections=8))
            running.stop()
        left = query(old / DATABASE, "SELECT count(*) FROM runs WHERE started_at = finished_at")
    p99 = median(busy, "p99_ms") / median(calm, "p99_ms")
    yield Row("p99 of accepting while pruning ÷ without", p99, "", "≤ 1.5")
    yield Row("runs still to forget after it", left[0][0], "")


LIMITED: Final = """
import trio

@task("one", max_concurrency=1)
async def one(ctx: Context) -> None:
    await trio.sleep(0.05)
"""


def limits(_rounds: int, seconds: float) -> Iterator[Row]:
    """From enqueue to start while ten thousand runs of a task that may run once at a time wait."""
    free, full = _waits_beside(0, seconds), _waits_beside(10_000, seconds)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        ratio = percentile(full, share) / percentile(free, share)
        yield Row(f"start of others, 10,000 of a full task waiting ÷ none, {name}", ratio, "", "1")


def _waits_beside(backlog: int, seconds: float) -> list[float]:
    with short_home() as home:
        fill(home / DATABASE, backlog, "queued", age=timedelta(hours=1), job_id="one")
        with service(home, jobs=JOBS + LIMITED) as (side, running):
            paced(side.port, per_second=100, seconds=max(seconds, 10))
            running.stop()
        return lateness_ms(home / DATABASE, "created_at", "job_id = 'noop'")


def cron(_rounds: int, seconds: float) -> Iterator[Row]:
    """A thousand cron jobs, spread over the seconds of the minute: lateness, and cost at rest."""
    spread = "".join(
        f"    CronJob(id='j{n}', schedule='{n % 60} * * * * *', job_id='tick'),\n"
        for n in range(1000)
    )
    tick = JOBS.replace("noop", "tick")
    jobs = f"from service import CronJob\n{JOBS}\n{tick}\nCRON_JOBS = [\n{spread}]\n"
    with short_home() as home, service(home, jobs=jobs) as (_, running):
        time.sleep(max(seconds, 10))
        running.stop()
        late = lateness_ms(home / DATABASE, "tick", "cron_id IS NOT NULL")
    yield Row("1,000 cron jobs: start after the tick, p50", percentile(late, 0.5), "ms")
    yield Row("1,000 cron jobs: start after the tick, p99", percentile(late, 0.99), "ms", "< 50")
    with short_home() as home, service(home, jobs=jobs) as (side, running):
        paced(side.port, per_second=200, seconds=max(seconds, 10))
        running.stop()
        busy = lateness_ms(home / DATABASE, "tick", "cron_id IS NOT NULL")
    yield Row("the same beside 200 webhooks a second, p50", percentile(busy, 0.5), "ms")
    yield Row("the same beside 200 webhooks a second, p99", percentile(busy, 0.99), "ms")
    asleep = jobs.replace(" * * * * *'", " 0 0 1 1 *'")
    with short_home() as home, service(home, jobs=asleep) as (side, _):
        time.sleep(2)
        before = side.cpu_seconds()
        time.sleep(20)
        share = (side.cpu_seconds() - before) / 20 * 100
        memory = side.memory_mib()
    yield Row("1,000 cron jobs asleep, processor", share, "% of a core", "< 0.5")
    yield Row("1,000 cron jobs asleep, memory", memory, "MiB", "≤ 90")


def starting(rounds: int, _seconds: float) -> Iterator[Row]:
    """From start to the first 202, with and without a backlog."""
    ours, ceiling, backlog = [], [], []
    with short_home() as laden:
        fill(laden / DATABASE, 1_000_000, "queued", age=timedelta(hours=1))
        for _ in range(rounds):
            begun = time.monotonic()
            with bare() as side:
                ceiling.append(_answered(side, begun))
            with short_home() as home:
                ours.append(_first_answer(home))
            backlog.append(_first_answer(laden))
    first = statistics.median(ours) / statistics.median(ceiling)
    yield Row("start to first answer ÷ bare", first, "", "≤ 1.3")
    later = statistics.median(backlog) - statistics.median(ours)
    yield Row("the same with 1,000,000 queued, later by", later, "s", "≤ 0.3")


def _first_answer(home: Path) -> float:
    begun = time.monotonic()
    with service(home) as (side, _):
        return _answered(side, begun)


def _answered(side: Side, begun: float) -> float:
    paced(side.port, per_second=1000, seconds=0.001)  # one
    return time.monotonic() - begun


def drain(_rounds: int, _seconds: float) -> Iterator[Row]:
    """A hundred thousand queued runs that do nothing, and an orphan among them."""
    count = 100_000
    with short_home() as home:
        jobs = JOBS.replace("return", "import trio; await trio.sleep(ctx.max_attempts - 4); return")
        path = home / DATABASE
        fill(path, count, "queued", age=timedelta(hours=1))
        running = launch(home, jobs, PORT=str(free_port()))
        until(lambda: running.logged("service started"), "runs are begun")
        os.kill(running.process.pid, signal.SIGKILL)
        running.wait()
        orphans = query(path, "SELECT count(*) FROM runs WHERE status = 'running'")[0][0]
        with service(home, jobs=jobs) as (_, again):
            started = time.time()
            drained(home)
            again.stop()
        ended = query(
            path,
            "SELECT min(finished_at) FILTER (WHERE crashes > 0), min(finished_at), "
            "max(finished_at), count(*) FROM runs",
        )[0]
    yield Row("orphans that a kill -9 left", orphans, "")
    if ended[0] is not None:
        yield Row("first orphan done after the restart", ended[0] / 1e6 - started, "s", "< 2")
    rate = ended[3] / ((ended[2] - ended[1]) / 1e6)
    yield Row("drain of 100,000 queued runs", rate, "1/s", "≥ 3000")


def _press(side: Side, seconds: float, costs: list[float]) -> Load:
    """Press, and note the processor time that an answer cost.

    On a busy machine it says more than the rate, for a process of many threads gets more of it.
    """
    before = side.cpu_seconds()
    load = press(side.port, seconds=seconds)
    costs.append((side.cpu_seconds() - before) / (load.per_second * seconds))
    return load


MEASURES: Final[dict[str, Callable[[int, float], Iterator[Row]]]] = {
    "accept": accept,
    "complete": complete,
    "start_latency": start_latency,
    "telemetry": telemetry,
    "retention": retention,
    "limits": limits,
    "cron": cron,
    "starting": starting,
    "drain": drain,
    "grown": grown,
    "memory": memory,
    "peer": peer,
}
