"""The processes that are compared, each in a folder of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from tests.harness import ROOT, Service, environ_for, launch, short_home
from tests.receivers import Receiver

JOBS: Final = """
import time
from service import Context, task

@task("noop")
async def noop(ctx: Context) -> float:
    return time.time()
"""

WHAT_IS_ON: Final = (
    "Where nothing else is said: each run is a task that does nothing, each delivery has an id, "
    "every commit is synced to disk, logs at info go to a file, traces and metrics to a live "
    "receiver on this machine; load, receiver and service share its processors."
)


@attrs.frozen
class Side:
    """Something that answers ``POST /webhook``, and the process that does."""

    port: int
    process_id: int

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used, threads included."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text(encoding="ascii").split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Return the resident memory of the process."""
        pages = int(Path(f"/proc/{self.process_id}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Collector(Receiver):
    """Takes in what comes and answers; what it would make of it is another machine's work."""

    def take(self, _path: str, _body: bytes) -> int:
        return self.status


@contextmanager
def bare() -> Iterator[Side]:
    """Hold the stack without the service."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bare", str(port)],
        cwd=ROOT,
        env=environ_for(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield Side(port, process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def service(
    home: Path, *, telemetry: bool = True, jobs: str = JOBS, **settings: str
) -> Iterator[tuple[Side, Service]]:
    """Hold the service as it is run for real: logs at info, traces and metrics to a live receiver.

    Without telemetry it logs errors only and exports nothing.
    """
    with Collector() as receiver:
        if telemetry:
            url = f"http://127.0.0.1:{receiver.port}/v1"
            settings |= {
                "OTEL_SDK_DISABLED": "false",
                "OTLP_ENDPOINT": f"{url}/traces",
                "OTLP_METRICS_ENDPOINT": f"{url}/metrics",
            }
        else:
            settings |= {"LOG_LEVEL": "error"}
        running = launch(home, jobs, **{"PORT": str(free_port()), **settings})
        try:
            port = int(running.environ["PORT"])
            wait_for(port)
            yield Side(port, running.process.pid), running
        finally:
            if running.process.poll() is None:
                running.stop()


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until a port answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise AssertionError(f"nobody listens on port {port}")


__all__ = ["JOBS", "WHAT_IS_ON", "Side", "bare", "free_port", "service", "short_home", "wait_for"]
