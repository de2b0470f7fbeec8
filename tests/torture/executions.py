"""A record of what tasks did that no kill can take back: one O_APPEND write a line."""

from pathlib import Path
from typing import Final

import attrs

JOBS: Final = """
import os, time
import trio
from service import Context, CronJob, Permanent, task

def note(ctx: Context) -> None:
    line = f"{ctx.run_id} {ctx.attempt} {time.time()}\\n"
    file = os.open("executions", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)

@task("succeed")
async def succeed(ctx: Context) -> int:
    note(ctx)
    return ctx.attempt

@task("fail", retries=0)
async def fail(ctx: Context) -> None:
    note(ctx)
    raise Permanent("as asked")

@task("retry", retries=3, retry_base_seconds=0.02)
async def retry(ctx: Context) -> int:
    note(ctx)
    if ctx.attempt < 3:
        raise ValueError("not yet")
    return ctx.attempt

@task("hang", retries=1, timeout=0.2, retry_base_seconds=0.02)
async def hang(ctx: Context) -> None:
    note(ctx)
    await trio.sleep_forever()

@task("thread", retries=0)
def thread(ctx: Context) -> int:
    note(ctx)
    time.sleep(0.01)
    return ctx.attempt

@task("tick")
async def tick(ctx: Context) -> None:
    note(ctx)
"""

CRON: Final = """
CRON_JOBS = [
    CronJob(id="second", schedule="* * * * * *", job_id="tick", overlap="allow", catch_up="all"),
    CronJob(id="skipping", schedule="* * * * * *", job_id="hang", overlap="skip"),
]
"""


@attrs.frozen
class Execution:
    """A task began: which run's, at which attempt, and when (seconds since 1970)."""

    run_id: str
    attempt: int
    at: float


def executions(home: Path) -> list[Execution]:
    """Return what was begun so far, in order."""
    file = home / "executions"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    parts = [line.split() for line in lines]
    return [Execution(run_id, int(attempt), float(at)) for run_id, attempt, at in parts]
