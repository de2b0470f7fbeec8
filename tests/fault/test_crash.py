"""An actor that crashes ends the service, and nobody is left waiting."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Final

import httpx
import pytest

from service.core.wire import Json
from tests.harness import Service, environ_for, serving, short_home, until

EX_CRASHED: Final = 70
EXIT_SECONDS: Final = 30
"""Ends a test that fails: the watchdog would have ended the service long before."""

JOBS: Final = """
import trio
from service import Context, task

@task("wait")
async def wait(ctx: Context) -> None:
    await trio.sleep_forever()
"""

CRASHING: Final = '''
"""The service with an actor that crashes when the file `crash` is there.

The disk is full while the file `full` is there.
"""

import os
import sys
from pathlib import Path

import attrs
import trio

from service.actors.store import run_store
from service.hop import own_thread
from service.cli.serving import run_service
from service.core.errors import StoreUnavailable
from service.house import Trades
from service.messages import Claim

WHICH = sys.argv[1]
TRADES = Trades()
REAL = getattr(TRADES, WHICH)


class Crash(Exception):
    pass


async def watch():
    while not Path("crash").exists():
        await trio.sleep(0.005)
    raise Crash(f"the {WHICH} crashed, as the test wants it")


async def crash_beside(*args, **options):
    """Do as the actor does, until it crashes."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await REAL(*args, **options)
        nursery.cancel_scope.cancel()


async def keep_store(house, mailbox):
    """Do as the store does, but on a full disk, and crash with a group of questions in hand."""
    with own_thread() as hop:

        async def failing(function):
            if Path("full").exists():
                await trio.lowlevel.checkpoint()
                raise StoreUnavailable("the disk is full, as the test wants it")
            if WHICH == "store" and Path("crash").exists():
                raise Crash("the store crashed, as the test wants it")
            return await hop(function)

        await run_store(mailbox, house.database, limits={}, now=house.now, hop=failing)


actors = {"store": keep_store} if WHICH == "store" else {"store": keep_store, WHICH: crash_beside}
sys.exit(run_service(os.environ, attrs.evolve(TRADES, **actors)))
'''

ACTORS: Final = ("control", "cron", "gauge", "http", "janitor", "runner", "store")

NOBODY: Final = "http://127.0.0.1:9/"
METERED: Final = {
    "OTEL_SDK_DISABLED": "false",
    "OTLP_ENDPOINT": NOBODY,
    "OTLP_METRICS_ENDPOINT": NOBODY,
}
"""The gauge works only where metrics go somewhere; that nobody takes them is nothing to it."""


@contextmanager
def crashing(home: Path, actor: str) -> Iterator[Service]:
    """Hold a service, ready or not, in which `actor` crashes once `home` has a file `crash`."""
    (home / "jobs.py").write_text(JOBS, encoding="utf-8")
    (home / "crashing.py").write_text(CRASHING, encoding="utf-8")
    metered = METERED if actor == "gauge" else {}
    environ = environ_for(JOBS_MODULE="jobs", SHUTDOWN_GRACE_SECONDS="60", **metered)
    with (home / "log.jsonl").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "crashing.py", actor],
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    service = Service(process, home, environ)
    try:
        yield service
    finally:
        service.client.close()
        if process.poll() is None:
            service.kill()


def crash_of(service: Service) -> dict[str, Json]:
    """Return the one line that tells of the crash, after the exit."""
    assert service.wait(EXIT_SECONDS) == EX_CRASHED, service.log_file.read_text()
    assert "did not end in time" not in service.log_file.read_text()
    (line,) = service.logged("the service crashed")
    return line


@pytest.mark.parametrize("actor", ACTORS)
def test_crash_while_it_works_ends_the_service(actor: str) -> None:
    """Exit 70 at once; the log says why, once; the run at hand goes on at the next start."""
    with short_home() as home:
        with crashing(home, actor) as service:
            service.ready()
            answer = service.post({"jobId": "wait"})
            run_id = answer.headers["X-Run-Id"]
            service.run_until(run_id, "running")
            (home / "crash").touch()
            if actor == "store":  # it is idle, and crashes with the next question
                assert service.post({"jobId": "wait"}).status_code == 503
            line = crash_of(service)
            assert f"the {actor} crashed" in json.dumps(line)
            assert "Traceback" not in service.log_file.read_text()
            told = {"status": "running", "attempt": 1} if actor == "store" else None
            run = service.run(run_id)
            found = {"status": run["status"], "attempt": run["attempt"]}
            assert found == (told or {"status": "queued", "attempt": 0})
        with serving(home, JOBS.replace("sleep_forever()", "lowlevel.checkpoint()")) as again:
            run = again.run_until(run_id, "ok")
            assert (run["attempt"], run["crashes"]) == (1, int(actor == "store"))


@pytest.mark.parametrize("actor", ACTORS)
def test_crash_at_start_ends_the_service(actor: str) -> None:
    """An actor that cannot even begin is no reason to hang."""
    with short_home() as home, crashing(home, actor) as service:
        (home / "crash").touch()
        assert f"the {actor} crashed" in json.dumps(crash_of(service))


@pytest.mark.parametrize("actor", ["control", "cron", "http", "runner"])
def test_crash_ends_the_service_on_a_full_disk_too(actor: str) -> None:
    """The store, which takes no last words, holds it up for a moment; the run runs again."""
    with short_home() as home:
        with crashing(home, actor) as service:
            run_id = service.ready().post({"jobId": "wait"}).headers["X-Run-Id"]
            service.run_until(run_id, "running")
            (home / "full").touch()
            (home / "crash").touch()
            assert f"the {actor} crashed" in json.dumps(crash_of(service))
        with serving(home, JOBS.replace("sleep_forever()", "lowlevel.checkpoint()")) as again:
            assert again.run_until(run_id, "ok")["crashes"] == 1


def test_second_signal_ends_the_service_on_a_full_disk_too() -> None:
    """It exits 0, however long the grace would have been, and the log says which run runs again."""
    with short_home() as home, crashing(home, "janitor") as service:
        run_id = service.ready().post({"jobId": "wait"}).headers["X-Run-Id"]
        service.run_until(run_id, "running")
        (home / "full").touch()
        service.signal(SIGTERM)
        until(lambda: service.logged("stopping"), "the first signal is heard")
        service.signal(SIGTERM)
        assert service.wait(EXIT_SECONDS) == 0, service.log_file.read_text()
        [line] = service.logged("the store could not be told how a run ended; it will run again")
        assert (line["run_id"], line["status"]) == (run_id, "running")


@pytest.mark.parametrize("actor", ["runner", "store"])
def test_request_in_flight_is_answered(actor: str) -> None:
    """Of many that post while an actor crashes, each gets 202, 503 or a closed connection.

    Nobody waits until a timeout, and every 202 is in the store.
    """

    def post(service: Service) -> list[str]:
        ids = []
        with httpx.Client(base_url=service.client.base_url, timeout=EXIT_SECONDS) as client:
            try:
                while True:
                    answer = client.post("/webhook", json={"jobId": "echo"})
                    assert answer.status_code in {202, 503}
                    if answer.status_code == 202:
                        ids.append(answer.headers["X-Run-Id"])
                        (service.home / "crash").touch()
            except (httpx.NetworkError, httpx.RemoteProtocolError):
                return ids

    with short_home() as home, crashing(home, actor) as service:
        service.ready()
        with ThreadPoolExecutor(8) as pool:
            posted = [pool.submit(post, service) for _ in range(8)]
        crash_of(service)
        stored = {run["id"] for run in service.runs()}
        accepted = [run_id for each in posted for run_id in each.result()]
        assert accepted
        assert set(accepted) <= stored
