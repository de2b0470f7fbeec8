"""`service trigger`, `retry` and `cancel`, against the real process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import Service, environ_for, launch, serving, short_home, until

JOBS = """
import attrs
import trio

from service import Context, Permanent, task

@attrs.frozen
class Greet:
    name: str

@task("greet")
async def greet(ctx: Context, payload: Greet) -> str:
    return f"Hello, {payload.name}!"

@task("fail", retries=0)
async def fail(ctx: Context) -> None:
    raise Permanent("no use")

@task("later", retry_base_seconds=3600)
async def later(ctx: Context) -> None:
    raise OSError("not yet")

@task("sleep")
async def sleep(ctx: Context) -> None:
    await trio.sleep_forever()
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with short_home() as home, serving(home, JOBS) as running:
        yield running


def say(service: Service, *words: str, code: int = 0) -> str:
    """Return what a command prints: its answer, or its complaint."""
    done = service.command(*words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return (done.stderr if code else done.stdout).strip()


def test_trigger_runs_a_task_now(service: Service) -> None:
    """The run is manual, has the payload, and its id is what is printed."""
    run_id = say(service, "trigger", "greet", "--payload", '{"name": "Ada"}')
    run = service.run_until(run_id, "ok")
    assert (run["trigger"], run["payload"]) == ("manual", {"name": "Ada"})
    assert run["result"] == {"status": "ok", "data": "Hello, Ada!"}
    assert [line["run_id"] for line in service.logged("run triggered")][-1] == run_id


def test_trigger_takes_its_payload_from_a_file_or_from_stdin(service: Service) -> None:
    """`@file` and `-` are read as JSON, however large: a webhook may bring 25 MB."""
    large = {"name": "x" * 1_000_000}
    (service.home / "payload.json").write_text(json.dumps(large), encoding="utf-8")
    run = json.loads(say(service, "trigger", "greet", "--payload", "@payload.json", "--json"))
    assert service.run_until(run["runId"], "ok")["payload"] == large
    piped = service.command(
        "trigger", "greet", "--payload", "-", "--wait", "--json", stdin='{"name": "Grace"}'
    )
    assert json.loads(piped.stdout)["payload"] == {"name": "Grace"}


def test_wait_tells_how_the_run_ended(service: Service) -> None:
    """`--wait` prints the run when it has ended, and exits with 1 unless it ended well."""
    done = json.loads(say(service, "trigger", "echo", "--wait", "--json"))
    assert done["status"] == "ok"
    failed = service.command("trigger", "fail", "--wait")
    assert failed.returncode == 1
    assert "no use" in failed.stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["trigger", "gret"], 1, "there is no task 'gret', only echo, fail, greet, heartbeat"),
        (["trigger", "greet"], 1, "payload: expected"),
        (["trigger", "greet", "--payload", '{"nam": 1}'], 1, "payload.nam: unknown"),
        (["trigger", "greet", "--payload", "{name}"], 2, "not JSON"),
        (["trigger", "greet", "--payload", "@nowhere"], 2, "nowhere: "),
        (["trigger", "greet", "--payload", "@/"], 2, "/: "),
        (["retry", "nothing"], 1, "`service runs` lists those there are"),
        (["cancel", ""], 1, "there is no run ''"),
        (["show", "ffff"], 1, "there is no run 'ffff'"),
    ],
)
def test_a_refusal_says_what_to_do(
    service: Service, words: list[str], code: int, says: str
) -> None:
    """What cannot be done is refused by name, with what is accepted."""
    assert says in say(service, *words, code=code)


def test_retry_makes_a_new_run_and_leaves_the_old_one(service: Service) -> None:
    """Task and payload are those of the run that ended; what became of it stays."""
    old = service.post({"jobId": "greet", "payload": {"name": "Ada"}}).headers["X-Run-Id"]
    before = service.run_until(old, "ok")
    new = say(service, "retry", old)
    assert new != old
    again = service.run_until(new, "ok")
    assert (again["jobId"], again["payload"]) == (before["jobId"], before["payload"])
    assert (again["trigger"], again["deliveryId"]) == ("manual", None)
    assert service.run(old) == before
    assert service.logged("run triggered")[-1]["retry_of"] == old


def test_a_run_that_has_not_ended_is_not_retried(service: Service) -> None:
    """One that waits for its next attempt runs by itself; one that runs is to be cancelled."""
    waiting = say(service, "trigger", "later")
    until(lambda: service.run(waiting)["result"], "its first attempt has failed")
    assert "it is queued, and will run by itself" in say(service, "retry", waiting, code=1)
    running = say(service, "trigger", "sleep")
    service.run_until(running, "running")
    assert "`service cancel` ends it" in say(service, "retry", running, code=1)
    for run_id in (waiting, running):
        say(service, "cancel", run_id)


def test_cancel_ends_a_running_run(service: Service) -> None:
    """The attempt is interrupted, the run stays cancelled, and its runner takes the next one."""
    run_ids = [say(service, "trigger", "sleep") for _ in range(8)]
    for run_id in run_ids:
        service.run_until(run_id, "running")
    waiting = say(service, "trigger", "echo")
    assert service.run(waiting)["status"] == "queued"
    assert "it was running" in say(service, "cancel", run_ids[0])
    assert service.run_until(waiting, "ok")
    run = service.run(run_ids[0])
    assert run["status"] == "cancelled"
    assert run["result"] == {"status": "error", "message": "cancelled by the operator"}
    for run_id in run_ids[1:]:
        say(service, "cancel", run_id)
    assert "had already ended: cancelled" in say(service, "cancel", run_ids[0], code=1)


def test_cancel_ends_a_queued_run(service: Service) -> None:
    """It never runs again."""
    run_id = say(service, "trigger", "later")
    until(lambda: service.run(run_id)["result"], "its first attempt has failed")
    said = json.loads(say(service, "cancel", run_id, "--json"))
    assert said == {"runId": run_id, "jobId": "later", "was": "queued"}
    assert service.run(run_id)["status"] == "cancelled"


def test_the_beginning_of_an_id_is_enough(service: Service) -> None:
    """Where it is unique; else the runs that are meant are named."""
    first, second = say(service, "trigger", "echo"), say(service, "trigger", "echo")
    service.run_until(first, "ok")
    assert second != first
    assert json.loads(say(service, "show", first[:24], "--json"))["id"] == first
    said = say(service, "show", first[:1], code=1)
    assert "several runs have an id that begins with" in said
    assert "give more of it" in said


def test_without_a_service_the_way_on_is_told(home: Path) -> None:
    """A stopped service takes no orders, but its queued runs can be cancelled in the file."""
    with serving(home, JOBS) as service:
        run_id = say(service, "trigger", "later")
        until(lambda: service.run(run_id)["result"], "its first attempt has failed")
        assert service.stop() == 0
    assert "start it with `service run`" in say(service, "trigger", "echo", code=69)
    assert "it was queued" in say(service, "cancel", run_id)
    with serving(home) as service:
        assert service.run(run_id)["status"] == "cancelled"


def test_a_service_that_was_never_there(home: Path) -> None:
    """Nothing is made by asking."""
    nowhere = launch(home)
    nowhere.kill()
    assert nowhere.environ == environ_for()
    assert "`service run`" in say(nowhere, "cancel", "x", code=69)
