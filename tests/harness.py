"""The real service as a process of its own, with a folder, a port and a client of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final, Self, TypeVar

import attrs
import httpx

from service.cli.facts import run_json
from service.client import ask, list_runs
from service.core.wire import Json
from service.messages import GetRun, RunFilter
from service.settings import Settings, read_settings

ROOT: Final = Path(__file__).parent.parent
START_SECONDS: Final = 60.0
"""Patience with a loaded machine; nothing is measured by it."""

T = TypeVar("T")


def until(probe: Callable[[], T | None], what: str, seconds: float = START_SECONDS) -> T:
    """Return the first thing that `probe` finds; fail with `what` if it finds none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@attrs.define
class Service:
    """One running service; `home` is its working directory, with the database in data/."""

    process: subprocess.Popen[bytes]
    home: Path
    environ: Mapping[str, str]
    client: httpx.Client = attrs.field(factory=httpx.Client)

    @property
    def settings(self) -> Settings:
        """The service's settings, with paths that hold from here."""
        settings = read_settings(self.environ)
        return attrs.evolve(
            settings,
            run_store_sqlite_path=self.home / settings.run_store_sqlite_path,
            control_socket=self.home / settings.control_socket,
        )

    @property
    def log_file(self) -> Path:
        return self.home / "log.jsonl"

    def log(self) -> list[dict[str, Json]]:
        """Return the log lines so far; one that is being written is none yet."""
        *lines, _ = self.log_file.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, message: str) -> list[dict[str, Json]]:
        """Return the log lines with this message."""
        return [line for line in self.log() if line["message"] == message]

    def post(self, body: Json, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.client.post("/webhook", json=body, headers=headers)

    def command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a `service` command beside the service, as an operator would."""
        return subprocess.run(
            [sys.executable, "-m", "service", *words],
            cwd=self.home,
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def runs(self) -> list[dict[str, Json]]:
        """Return all runs as `service runs --json` has them, newest first."""
        found = list_runs(RunFilter(limit=10_000), partial(ask, self.settings))
        return [run_json(run) for run in found]

    def run(self, run_id: str) -> dict[str, Json]:
        """Return the run as `service show --json` has it."""
        found = ask(self.settings, GetRun(run_id))
        assert found is not None
        return run_json(found)

    def run_until(self, run_id: str, *statuses: str) -> dict[str, Json]:
        """Return the run once it stands at one of `statuses`."""

        def probe() -> dict[str, Json] | None:
            run = self.run(run_id)
            return run if run["status"] in statuses else None

        return until(probe, f"run {run_id} is {' or '.join(statuses)}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Return the exit code."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Stop the service as Kubernetes does; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.kill()
        self.process.wait()

    def ready(self) -> Self:
        """Wait until the service serves, and learn its port from its log."""

        def address() -> str | None:
            assert self.process.poll() is None, self.log_file.read_text(encoding="utf-8")
            started = self.logged("service started")
            return str(started[-1]["address"]).replace("0.0.0.0", "127.0.0.1") if started else None  # noqa: S104

        self.client = httpx.Client(base_url=until(address, "the service has started"), timeout=60)
        return self


def environ_for(**settings: str) -> dict[str, str]:
    """Return an environment with `settings` and nothing that belongs to this machine's user."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "OTEL_SDK_DISABLED": "true",
        **settings,
    }


def launch(home: Path, jobs: str | None = None, **settings: str) -> Service:
    """Start the service in `home`; `jobs` is the source of its jobs module."""
    if jobs is not None:
        (home / "jobs.py").write_text(jobs, encoding="utf-8")
        # What was compiled before would do for a source of the same size and second.
        Path(cache_from_source(home / "jobs.py")).unlink(missing_ok=True)
    if (home / "jobs.py").exists():
        settings = {"JOBS_MODULE": "jobs", **settings}
    environ = environ_for(**settings)
    log_file = home / "log.jsonl"
    log_file.unlink(missing_ok=True)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "run"],
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return Service(process, home, environ)


@contextmanager
def short_home() -> Iterator[Path]:
    """A folder whose path leaves room for a Unix socket's name (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="svc-", dir="/tmp") as home:
        yield Path(home)


@contextmanager
def serving(home: Path, jobs: str | None = None, **settings: str) -> Iterator[Service]:
    """Hold a service that is ready; whatever is left of it at the end is killed.

    What fails meanwhile is told with the end of the service's log.
    """
    service = launch(home, jobs, **settings)
    try:
        yield service.ready()
    except Exception as error:
        error.add_note(service.log_file.read_text(encoding="utf-8", errors="replace")[-8000:])
        raise
    finally:
        service.client.close()
        if service.process.poll() is None:
            service.kill()
