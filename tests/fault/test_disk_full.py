"""A disk that is really full, under a service with runs in flight."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.harness import Service, launch, serving, until
from tests.torture.postmortem import PostMortem

DISK_BYTES: Final = 2 * 2**20
IN_FLIGHT: Final = 3
RESULT: Final = "x" * 50_000

JOBS = f"""
import os
import trio
from service import Context, task

@task("hold", retries=0)
async def hold(ctx: Context) -> str:
    while not os.path.exists("go"):
        await trio.sleep(0.01)
    with open("done", "a") as file:
        file.write(ctx.run_id + "\\n")
    return "{RESULT}"
"""


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    """Return the folder of the store, on a small disk of its own."""
    folder = home / "data"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk to fill")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk to fill cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run([str(shutil.which("umount")), str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take the last byte of room; return the file that did."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return filler


def hold(service: Service) -> list[str]:
    """Return runs that are in flight until `go` exists."""
    runs = [service.post({"jobId": "hold"}).headers["X-Run-Id"] for _ in range(IN_FLIGHT)]
    for run_id in runs:
        service.run_until(run_id, "running")
    return runs


def finished(home: Path) -> list[str]:
    """Return the runs whose tasks have come to their end, however often."""
    file = home / "done"
    return file.read_text(encoding="utf-8").split() if file.exists() else []


def let_go(home: Path) -> None:
    """Let the tasks finish, and wait until they have."""
    (home / "go").touch()
    until(lambda: len(finished(home)) >= IN_FLIGHT, "the tasks have finished")


def wait_for_refused_results(service: Service) -> None:
    """Wait until the store has refused each result several times."""

    def refused() -> bool:
        return len(service.logged("the store refuses how a run ended; kept")) == IN_FLIGHT

    until(refused, "the runners have told the store in vain")


def test_full_disk_refuses_keeps_and_recovers(home: Path, disk: Path) -> None:
    """While it is full nothing is accepted and nothing is lost; with room all goes on."""
    with serving(home, JOBS) as service:
        runs = hold(service)
        filler = fill(disk)
        refused = service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert "full" in refused.json()["message"]
        health = service.client.get("/_health")
        assert health.status_code == 503
        assert "full" in health.json()["message"]
        assert service.client.get("/_health?live").status_code == 200
        let_go(home)
        wait_for_refused_results(service)
        assert {service.run(run_id)["status"] for run_id in runs} == {"running"}
        filler.unlink()
        for run_id in runs:
            assert service.run_until(run_id, "ok")["result"] == {"status": "ok", "data": RESULT}
        accepted = service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"})
        assert accepted.status_code == 202
        assert "Idempotent-Replayed" not in accepted.headers
        service.run_until(accepted.headers["X-Run-Id"], "ok")
        assert service.client.get("/_health").json() == {"status": "ok"}
        assert service.stop() == 0
    assert sorted(finished(home)) == sorted(runs)


def test_stop_on_a_full_disk_is_in_time_and_loses_no_run(home: Path, disk: Path) -> None:
    """What could not be told before the end of the grace runs again at the next start."""
    with serving(home, JOBS, SHUTDOWN_GRACE_SECONDS="1") as service:
        runs = hold(service)
        filler = fill(disk)
        let_go(home)
        assert service.stop() == 0
        assert PostMortem.of(disk / "runs.sqlite3").faults == ()
        filler.unlink()
    with serving(home, JOBS) as service:
        for run_id in runs:
            assert service.run_until(run_id, "ok")["attempt"] == 1
    assert sorted(finished(home)) == sorted(runs * 2)


TICKING: Final = f"""{JOBS}
from service import CronJob

CRON_JOBS = [CronJob(id="tick", schedule="* * * * * *", job_id="echo", catch_up="all")]
"""


@contextmanager
def starting(home: Path) -> Iterator[Service]:
    """Hold a service whose start cannot be completed, once it has said so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = launch(home, PORT=str(port))
    service.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    waits = "what the last process left waits for the store; nothing runs"
    try:
        until(lambda: service.logged(waits), "the service says what it waits for")
        yield service
    finally:
        service.client.close()
        if service.process.poll() is None:
            service.kill()


def test_start_on_a_full_disk_serves_and_recovers(home: Path, disk: Path) -> None:
    """Health says why, webhooks may come again, and with room what a crash left is taken in."""
    with serving(home, TICKING) as service:
        runs = hold(service)
        service.kill()
        filler = fill(disk)
    with starting(home) as service:
        health = service.client.get("/_health")
        assert health.status_code == 503
        assert "full" in health.json()["message"]
        assert service.client.get("/_health?live").status_code == 200
        refused = service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert {service.run(run_id)["status"] for run_id in runs} == {"running"}
        assert not service.logged("service started")
        (home / "go").touch()
        filler.unlink()
        for run_id in runs:
            assert service.run_until(run_id, "ok")["crashes"] == 1
        until(lambda: service.client.get("/_health").status_code == 200, "health is restored")
        assert service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"}).status_code == 202
        verified = service.command("verify")
        assert verified.returncode == 0, verified.stdout
        assert len(service.logged("the store cannot commit")) == 1
        assert service.stop() == 0


def test_start_on_a_full_disk_can_be_stopped(home: Path, disk: Path) -> None:
    """A service that waits for room stops as any other, and changes nothing."""
    with serving(home, JOBS) as service:
        runs = hold(service)
        service.kill()
        filler = fill(disk)
    with starting(home) as service:
        assert service.stop() == 0
    filler.unlink()
    (home / "go").touch()
    with serving(home, JOBS) as service:
        for run_id in runs:
            assert service.run_until(run_id, "ok")["crashes"] == 1
