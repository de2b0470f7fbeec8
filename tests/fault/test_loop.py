"""A task that holds the event loop is noticed, named, and told of."""

from collections.abc import Iterator

import httpx
import pytest

from tests.harness import Service, serving, short_home, until

JOBS = """
import threading, time
import trio
from service import Context, task

@task("hold")
async def hold(ctx: Context, payload: float) -> None:
    time.sleep(payload)

@task("nested")
async def nested(ctx: Context, payload: float) -> None:
    async def child() -> None:
        time.sleep(payload)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)

@task("compute")
async def compute(ctx: Context) -> None:
    sum(range(100_000_000))

@task("block")
def block(ctx: Context, payload: float) -> None:
    time.sleep(payload)
"""


@pytest.fixture
def service() -> Iterator[Service]:
    with short_home() as home, serving(home, JOBS) as running:
        yield running


def post(service: Service, job_id: str, seconds: float) -> str:
    answer = service.post({"jobId": job_id, "payload": seconds})
    assert answer.status_code == 202
    return str(answer.headers["X-Run-Id"])


@pytest.mark.parametrize("job_id", ["hold", "nested"])
def test_holding_is_told_once_with_its_run(service: Service, job_id: str) -> None:
    """One line while the loop is held, with the place, and one when it is over, with the time."""
    run_id = post(service, job_id, 1.5)
    service.run_until(run_id, "ok")
    (during,) = service.logged("a task holds the event loop")
    (after,) = until(lambda: service.logged("a task held the event loop"), "its end is told")
    for line in (during, after):
        assert (line["level"], line["job_id"], line["run_id"]) == ("warning", job_id, run_id)
    assert "jobs:" in str(during["place"])
    assert isinstance(after["seconds"], float)
    assert after["seconds"] >= 1.5


def test_a_call_that_lets_no_thread_look_is_told_when_it_returns(service: Service) -> None:
    """Such as a sum in C, which keeps Python's lock from the looking thread, too."""
    run_id = service.post({"jobId": "compute"}).headers["X-Run-Id"]
    service.run_until(run_id, "ok")
    (line,) = until(lambda: service.logged("a task held the event loop"), "it is told")
    assert (line["job_id"], line["run_id"]) == ("compute", run_id)


def test_health_tells_of_a_grave_holding(service: Service) -> None:
    """Who could not be answered is told afterwards; the live loop is no reason for a restart."""
    service.run_until(post(service, "hold", 1.5), "ok")
    answer = service.client.get("/_health")
    assert answer.status_code == 503
    assert "held" in answer.json()["message"]
    assert "of hold" in answer.json()["message"]
    assert service.client.get("/_health?live").status_code == 200

    def recovered() -> httpx.Response | None:
        answer = service.client.get("/_health")
        return answer if answer.status_code == 200 else None

    assert until(recovered, "health is good again").json() == {"status": "ok"}


def test_thread_holds_nothing(service: Service) -> None:
    """A plain function may block as long as it likes: it has a thread, and the loop turns."""
    service.run_until(post(service, "block", 1.5), "ok")
    assert service.client.get("/_health").status_code == 200
    assert not [line for line in service.log() if line["logger"] == "service.loop"]
