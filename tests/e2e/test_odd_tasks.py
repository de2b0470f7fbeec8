"""Tasks that do to their caller whatever a task can do, against the real process."""

from pathlib import Path

import pytest

from tests.harness import serving

JOBS = """
import trio
from service import Context, task

class Unreadable(dict):
    def items(self): raise RuntimeError("unreadable")
    def values(self): raise RuntimeError("unreadable")

class Unspeakable(Exception):
    def __str__(self): raise SystemExit(3)

@task("unreadable", retries=0)
async def unreadable(ctx: Context) -> object:
    return Unreadable(a=1)

@task("unspeakable", retries=0)
async def unspeakable(ctx: Context) -> None:
    raise Unspeakable

@task("generator-exit", retries=0)
async def generator_exit(ctx: Context) -> None:
    raise GeneratorExit

@task("system-exit", retries=0)
async def system_exit(ctx: Context) -> None:
    raise SystemExit(0)

@task("cancelled", retries=0)
async def cancelled(ctx: Context) -> None:
    kept = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(1)
        except trio.Cancelled as error:
            kept = error
    raise kept

@task("deep", retries=0)
async def deep(ctx: Context) -> None:
    error = ValueError("deep")
    for _ in range(990):
        error = ExceptionGroup("group", [error])
    raise error
"""


@pytest.mark.parametrize(
    "job_id",
    ["unreadable", "unspeakable", "generator-exit", "system-exit", "cancelled", "deep"],
)
def test_no_task_ends_the_service(home: Path, job_id: str) -> None:
    """Whatever a task returns or raises is a failure of its run, and the next run goes on."""
    with serving(home, JOBS) as service:
        odd = service.post({"jobId": job_id}).headers["X-Run-Id"]
        assert service.run_until(odd, "error")["attempt"] == 1
        even = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(even, "ok")
        assert service.stop() == 0
