"""A task says how far it is; whoever asks sees it, and the log is not flooded."""

from pathlib import Path

import trio
from trio.testing import MockClock

from service.messages import Headway, Question
from service.tasks.context import Context
from service.tasks.registry import Registry
from tests.harness import serving, until
from tests.runners import at_work
from tests.stores import START

JOBS = """
import trio
from service import Context, task

@task("count")
async def count(ctx: Context, payload: int) -> int:
    for number in range(payload):
        ctx.progress(number, payload, "counting")
    await trio.sleep_forever()
"""


def test_show_tells_how_far_a_run_is(home: Path) -> None:
    """`service show` has the latest progress of a running run, for people and for programs."""
    with serving(home, JOBS) as service:
        run_id = service.post({"jobId": "count", "payload": 100_000}).headers["X-Run-Id"]

        def shown() -> bool:
            return "99999 of 100000" in service.command("show", run_id).stdout

        until(shown, "the progress is shown")
        as_json = service.command("show", run_id, "--json").stdout
        assert '"done": 99999.0, "total": 100000.0, "note": "counting"' in as_json
        assert len(service.logged("progress")) < 10
        other = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(other, "ok")
        assert '"progress": null' in service.command("show", other, "--json").stdout


async def test_progress_costs_the_store_nothing(autojump_clock: MockClock) -> None:
    """However often a task tells, nothing is asked, and what it told goes with its attempt."""
    tasks = Registry()
    seen: list[Headway | None] = []
    asked: list[list[Question[object]]] = []

    @tasks.task("count")
    async def count(ctx: Context) -> None:
        ctx.progress(1, 3)
        ctx.progress(2, 3, "going on")
        seen.append(runner.pool.headway(ctx.run_id))
        asked.append(list(runner.asked))
        await trio.lowlevel.checkpoint()

    async with at_work(tasks, autojump_clock) as runner:
        run = await runner.perform("count")
        assert runner.pool.headway(run.id) is None
    assert seen == [Headway(done=2, total=3, note="going on", at=START)]
    assert len(asked[0]) == 1
