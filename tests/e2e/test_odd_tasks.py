"""Tasks that do to their caller whatever a task can do, against the real process."""

from pathlib import Path

import pytest

from tests.harness import serving

JOBS = """
import trio
from service import Context, RetryAfter, task
from service.core.results import Result

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

class Nameless(type):
    @property
    def __name__(self): raise RuntimeError("nameless")
    @property
    def __module__(self): raise SystemExit("nameless")

class Unnamed(Exception, metaclass=Nameless):
    pass

class Untouchable(Exception):
    def __getattribute__(self, name): raise RuntimeError("untouchable")

class Lying(Exception):
    @property
    def __class__(self): raise SystemExit("lying")

class Silent(ExceptionGroup):
    @property
    def exceptions(self): raise SystemExit("silent")

class Endless:
    def __float__(self): raise SystemExit("endless")

class Fickle(Result):
    asked = 0
    @property
    def encoded(self):
        Fickle.asked += 1
        if Fickle.asked > 1: raise SystemExit("fickle")
        return "{}"
    @property
    def message(self): raise KeyboardInterrupt

@task("raises", retries=0)
async def raises(ctx: Context, which: str) -> None:
    raise {
        "unnamed": Unnamed,
        "untouchable": Untouchable,
        "lying": Lying,
        "silent": lambda: Silent("silent", [ValueError()]),
        "endless": lambda: RetryAfter(Endless()),
    }[which]()

@task("fickle", retries=0)
async def fickle(ctx: Context) -> object:
    return Fickle("ok")

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

async def numbers():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield 1

@task("generator", retries=0)
async def generator(ctx: Context) -> None:
    async for _ in numbers():
        return

@task("deep", retries=0)
async def deep(ctx: Context) -> None:
    error = ValueError("deep")
    for _ in range(990):
        error = ExceptionGroup("group", [error])
    raise error
"""


@pytest.mark.parametrize(
    "job_id",
    [
        "unreadable",
        "unspeakable",
        "fickle",
        "generator-exit",
        "system-exit",
        "cancelled",
        "generator",
        "deep",
    ],
)
def test_no_task_ends_the_service(home: Path, job_id: str) -> None:
    """Whatever a task returns or raises is a failure of its run, and the next run goes on."""
    with serving(home, JOBS) as service:
        odd = service.post({"jobId": job_id}).headers["X-Run-Id"]
        assert service.run_until(odd, "error")["attempt"] == 1
        even = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(even, "ok")
        assert service.stop() == 0


@pytest.mark.parametrize(
    "settings",
    [{}, {"SENTRY_DSN": "http://key@127.0.0.1:9/1"}],
    ids=["alone", "with Sentry"],
)
def test_no_exception_ends_the_service(home: Path, settings: dict[str, str]) -> None:
    """Also one that raises when its type, its members, its words or its wait are looked at."""
    with serving(home, JOBS, **settings) as service:
        for which in ("unnamed", "untouchable", "lying", "silent", "endless"):
            odd = service.post({"jobId": "raises", "payload": which}).headers["X-Run-Id"]
            assert service.run_until(odd, "error")["attempt"] == 1
        even = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(even, "ok")
        assert service.stop() == 0
