"""A log that nobody reads costs no request."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.harness import environ_for, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("reader", ["gone", "stalled"])
def test_requests_are_answered_whether_or_not_the_log_is_read(home: Path, reader: str) -> None:
    """With the reader of stdout gone or asleep, runs go on and the service stops as asked."""
    port = free_port()
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run"],
        cwd=home,
        env=environ_for(PORT=str(port), LOG_LEVEL="debug"),
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    if reader == "gone":
        os.close(read)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

            def healthy() -> bool:
                try:
                    return client.get("/_health").status_code == 200
                except httpx.TransportError:
                    return False

            until(healthy, "the service serves")
            for _ in range(400):  # more lines than a pipe holds
                answer = client.post("/webhook", json={"jobId": "echo", "payload": "x" * 100})
                assert answer.status_code == 202
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if reader == "stalled":
            os.close(read)
