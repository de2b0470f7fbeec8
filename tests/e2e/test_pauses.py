"""A pause in the real service: it holds no runner, and outlives the process."""

from pathlib import Path

from tests.harness import serving

JOBS = """
import os
import trio
from service import Context, task

@task("night", retries=0)
async def night(ctx: Context) -> list[str]:
    before = await ctx.step("before", str, os.getpid())
    await ctx.sleep(6)
    return [before, await ctx.step("after", str, os.getpid())]
"""


def test_a_pause_outlives_the_process(home: Path) -> None:
    """One runner, one sleeping run: others are served meanwhile, and a kill changes nothing."""
    with serving(home, JOBS, RUNNERS="1") as service:
        night = service.post({"jobId": "night"}).headers["X-Run-Id"]
        echo = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(echo, "ok")
        asleep = service.run(night)
        assert (asleep["status"], asleep["attempt"]) == ("queued", 0)
        first = str(service.process.pid)
        service.kill()
    with serving(home, RUNNERS="1") as service:
        run = service.run_until(night, "ok", "error")
        assert run["result"] == {"status": "ok", "data": [first, str(service.process.pid)]}
    assert (run["attempt"], run["crashes"], run["dueAt"]) == (1, 0, asleep["dueAt"])
