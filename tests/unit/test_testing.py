"""An author's tests: a task is run as the service would, in no time."""

import sys
import time
from collections.abc import Sequence

import attrs
import httpx
import pytest
import trio

from service import Context, HttpError, Permanent, RetryAfter, error, ok
from service.tasks.registry import Registry
from service.testing import FakeHttp, in_turn, reply, run_task

REGISTRY = Registry()
STARS = "GET https://api.github.test/repos/a/b"


@attrs.frozen
class Wanted:
    """A typed payload."""

    repo: str


@REGISTRY.task("stars", retries=2, retry_base_seconds=10)
async def stars(ctx: Context, payload: Wanted) -> dict[str, int]:
    async def fetch(repo: str) -> int:
        answer = await ctx.http.get(f"https://api.github.test/repos/{repo}", params={"v": 1})
        found: int = answer.json()["stars"]
        return found

    before = await ctx.step("fetch", fetch, payload.repo)
    await ctx.sleep(86_400)
    return {"before": before, "after": await ctx.step("fetch again", fetch, payload.repo)}


def test_a_run_takes_days_and_no_time() -> None:
    """Sleeps and waits pass on a virtual clock."""
    github = FakeHttp({STARS: in_turn(reply(429, headers={"retry-after": "600"}), {"stars": 5})})
    run = run_task(stars, {"repo": "a/b"}, http=github, registry=REGISTRY)
    assert run.result == ok({"before": 5, "after": 5})
    assert run.attempts == 1
    assert 87_000 <= run.seconds <= 87_100
    assert run.steps["fetch"] == 5
    assert github.count(STARS) == len(github.requests) == 3
    assert github.requests[0].url.query == b"v=1"


@pytest.mark.parametrize("crash_after", [["fetch"], ["fetch again"], ["sleep 1", "fetch"]])
def test_a_crash_repeats_no_finished_step(crash_after: Sequence[str]) -> None:
    """Wherever the service dies, what was done stays done, and no attempt is used up."""
    github = FakeHttp({STARS: {"stars": 5}})
    run = run_task(stars, {"repo": "a/b"}, http=github, crash_after=crash_after, registry=REGISTRY)
    assert run.result == ok({"before": 5, "after": 5})
    assert (run.attempts, github.count(STARS)) == (1, 2)


def test_failures_are_retried_as_the_task_says() -> None:
    """Two retries, ten and twenty seconds apart, and then the error."""
    github = FakeHttp({STARS: reply(404)})
    run = run_task(stars, {"repo": "a/b"}, http=github, registry=REGISTRY)
    assert run.result == error("HttpError: GET api.github.test: 404 Not Found (in step 'fetch')")
    assert isinstance(run.exception, HttpError)
    assert (run.attempts, run.seconds) == (3, 30)


def test_a_transport_error_can_be_played() -> None:
    """An exception is an answer, too."""
    github = FakeHttp({STARS: in_turn(httpx.ConnectError("refused"), lambda _: {"stars": 1})})
    run = run_task(stars, {"repo": "a/b"}, http=github, registry=REGISTRY)
    assert run.result == ok({"before": 1, "after": 1})


def test_a_wrong_payload_is_what_the_webhook_would_say() -> None:
    """The payload is structured as a caller's."""
    run = run_task(stars, {"repo": 5}, registry=REGISTRY)
    assert run.result == error("payload.repo: expected str, got int")


def test_what_the_fake_does_not_know_fails_the_test() -> None:
    """A request that nobody expected is named."""
    with pytest.raises(AssertionError, match=r"no answer to GET https://api.github.test/repos/c"):
        run_task(stars, {"repo": "c"}, http=FakeHttp({STARS: 1}), registry=REGISTRY)
    with pytest.raises(KeyError):
        FakeHttp({STARS: 1}).count("GET https://elsewhere.test/")


def test_a_crash_after_a_step_that_never_was_fails_the_test() -> None:
    """A test that crashes nowhere proves nothing."""
    github = FakeHttp({STARS: {"stars": 5}})
    with pytest.raises(AssertionError, match="there was no step fetsh"):
        run_task(stars, {"repo": "a/b"}, http=github, crash_after=["fetsh"], registry=REGISTRY)


def test_only_a_task_can_be_run() -> None:
    """A function that nobody registered is refused."""
    with pytest.raises(ValueError, match="is no task"):
        run_task(lambda: None)


@REGISTRY.task("blocking", timeout=5)
def blocking(ctx: Context) -> str:
    time.sleep(0.02)  # noqa: ASYNC251 - what a plain task may do
    ctx.check_cancelled()
    ctx.progress(1, 2, "half")
    trio.from_thread.run(ctx.sleep, 3)
    return "done"


@REGISTRY.task("program")
async def program(ctx: Context) -> str:
    command = [sys.executable, "-c", "import time; time.sleep(0.02); print('hi')"]
    return (await ctx.step("say", ctx.run_process, command, timeout=5))["stdout"]


def test_time_stands_still_for_threads_and_programs() -> None:
    """What really takes time is not timed out by the virtual clock, and threads may ask for it."""
    run = run_task(blocking, registry=REGISTRY)
    assert run.result == ok("done")
    assert run.seconds == pytest.approx(3, abs=0.1)
    assert run_task(program, registry=REGISTRY).result == ok("hi\n")


@REGISTRY.task("hang", retries=0, timeout=60)
async def hang(ctx: Context) -> None:
    await ctx.step("wait", trio.sleep_forever, timeout=20)


def test_a_task_that_hangs_times_out() -> None:
    """Timeouts pass on the virtual clock."""
    run = run_task(hang, registry=REGISTRY)
    assert run.result == error("step 'wait' timed out after 20 s")
    assert run.seconds == 20


@pytest.mark.parametrize("problem", [Permanent("no"), RetryAfter(60, "later")])
def test_verdicts_are_the_services(problem: Exception) -> None:
    """Permanent ends the run; RetryAfter names the wait."""
    registry = Registry()

    @registry.task("fail", retries=1)
    async def fail(_: Context) -> None:
        await trio.lowlevel.checkpoint()
        raise problem

    run = run_task(fail, registry=registry)
    assert run.result == error(str(problem))
    assert run.seconds == (60 if isinstance(problem, RetryAfter) else 0)
