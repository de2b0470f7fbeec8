"""A run that kills the process is stopped before it stops the service for good."""

import signal
from contextlib import suppress
from pathlib import Path

import httpx

from service.core.run import CRASHES_MAX
from tests.harness import launch, serving

JOBS = """
import os, signal
from service import Context, task

@task("poison", retries=5)
async def poison(ctx: Context) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_run_that_kills_the_service_ends_as_error(home: Path) -> None:
    """After three crashes the run ends, saying so, and the service works on."""
    with serving(home, JOBS) as service:
        with suppress(httpx.TransportError):  # nobody may be left to answer
            service.post({"jobId": "poison"}, {"X-GitHub-Delivery": "poison"})
        assert service.wait() == -signal.SIGKILL
    for _ in range(CRASHES_MAX - 1):
        assert launch(home).wait() == -signal.SIGKILL
    with serving(home) as service:
        [run] = service.runs()
        assert (run["status"], run["crashes"], run["deliveryId"]) == ("error", 3, "poison")
        message = f"the service died {CRASHES_MAX} times while this run was running"
        assert run["result"] == {"status": "error", "message": message}
        [line] = service.logged("run ended: the service died too often while it was running")
        assert (line["level"], line["run_id"]) == ("error", run["id"])
        after = service.post({"jobId": "echo", "payload": "alive"}).headers["X-Run-Id"]
        service.run_until(after, "ok")
