"""Load on one port: wrk where it is installed, else a generator in Python, which is slower."""

import json
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections import deque
from functools import partial
from typing import Final

import attrs
import trio

__all__ = ["Load", "paced", "press"]

BODY: Final = json.dumps({"jobId": "noop", "payload": {"ref": "refs/heads/main"}})
SCRIPT: Final = """
local sent = 0
local mark = "%s"
function request()
  sent = sent + 1
  local headers = {["Content-Type"] = "application/json", ["X-GitHub-Delivery"] = mark .. sent}
  return wrk.format("POST", "/webhook", headers, '%s')
end
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  print(string.format("RESULT %%d %%d %%f %%f %%d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end
"""


@attrs.frozen
class Load:
    """What came of a load: answers a second, latencies in milliseconds, and failures."""

    per_second: float
    p50_ms: float
    p99_ms: float
    failed: int


def press(port: int, *, seconds: float, connections: int = 32) -> Load:
    """Post as fast as the port answers, each request a delivery of its own."""
    if shutil.which("wrk") is None:
        return trio.run(partial(_press, port, seconds, connections))
    mark = f"{random.getrandbits(64):x}-"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % (mark, BODY))
        script.flush()
        words = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "-s",
            script.name,
        ]
        done = subprocess.run(
            [*words, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
        )
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", done.stdout)
    assert found is not None, done.stdout
    requests, micros, p50, p99, failed = map(float, found.groups())
    return Load(requests / micros * 1e6, p50 / 1000, p99 / 1000, int(failed))


async def _press(port: int, seconds: float, connections: int) -> Load:
    times: list[float] = []
    failures = 0

    async def connection(number: int) -> None:
        nonlocal failures
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            while time.perf_counter() < deadline:
                started = time.perf_counter()
                status = await _post(stream, f"{mark}-{number}-{len(times)}")
                times.append(time.perf_counter() - started)
                failures += status != 202

    mark = f"{random.getrandbits(64):x}"
    begun = time.perf_counter()
    deadline = begun + seconds
    async with trio.open_nursery() as nursery:
        for number in range(connections):
            nursery.start_soon(connection, number)
    times.sort()
    took = time.perf_counter() - begun
    return Load(
        len(times) / took,
        times[len(times) // 2] * 1000,
        times[int(len(times) * 0.99)] * 1000,
        failures,
    )


async def _post(stream: trio.SocketStream, delivery: str, body: str = BODY) -> int:
    await stream.send_all(
        b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-GitHub-Delivery: %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
        % (delivery.encode(), len(body), body.encode())
    )
    answer = b""
    while not (
        head := re.search(
            rb"content-length: (\d+)\r\n.*?\r\n\r\n", answer, re.IGNORECASE | re.DOTALL
        )
    ) or (len(answer) < head.end() + int(head[1])):
        more = await stream.receive_some()
        if not more:
            raise ConnectionError("closed in the middle of an answer")
        answer += more
    return int(answer[9:12])


def paced(port: int, *, per_second: float, seconds: float, job_id: str = "noop") -> None:
    """Post at a steady pace, whether or not the answers keep it.

    Connections take turns: one that rested for long would be closed, rightly, under a request.
    """

    async def run() -> None:
        mark = f"{random.getrandbits(64):x}"
        idle = deque([await trio.open_tcp_stream("127.0.0.1", port) for _ in range(8)])
        async with trio.open_nursery() as nursery:
            begun = trio.current_time()
            for number in range(int(per_second * seconds)):
                await trio.sleep_until(begun + number / per_second)
                if not idle:
                    idle.append(await trio.open_tcp_stream("127.0.0.1", port))
                nursery.start_soon(one, idle, idle.popleft(), f"{mark}-{number}")
        for stream in idle:
            await stream.aclose()

    async def one(idle: deque[trio.SocketStream], stream: trio.SocketStream, delivery: str) -> None:
        await _post(stream, delivery, BODY.replace("noop", job_id))
        idle.append(stream)

    trio.run(run)
