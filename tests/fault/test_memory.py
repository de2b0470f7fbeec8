"""What hostile senders can make the real process hold in memory."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx

from tests.harness import Service, serving, until

MIB: Final = 2**20

SENDERS: Final = 8
BODY: Final = b'{"jobId": "forget", "payload": "%b"}' % (b"x" * (25 * MIB - 100))
BOUND_MIB: Final = 600
"""With one runner; more than half of what it would be if nobody had to wait for room."""

UNFINISHED: Final = 6
"""Times that each kind of unfinished body is sent, one after another."""

UNFINISHED_BOUND_MIB: Final = 200
"""A few bodies; less than half of what all of them take."""

JOBS: Final = """
from service import Context, task

@task("forget")
async def forget(ctx: Context) -> None:
    pass
"""


def peak_mib(service: Service) -> int:
    """Return the largest resident size that the process has had."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) // 1024


def test_large_bodies_side_by_side_have_a_bound(home: Path) -> None:
    """However many send 25 MB at the same time, all are accepted, and two at a time held."""
    with serving(home, JOBS, RUNNERS="1") as service:
        webhook = service.client.base_url.join("/webhook")

        def post(_: int) -> int:
            return httpx.post(webhook, content=BODY, timeout=60).status_code

        with ThreadPoolExecutor(SENDERS) as pool:
            assert list(pool.map(post, range(SENDERS))) == [202] * SENDERS
        until(lambda: len(service.logged("run succeeded")) == SENDERS, "all have run")
        assert peak_mib(service) < BOUND_MIB
        assert service.stop() == 0


def test_a_body_that_no_handler_gets_is_freed_at_once(home: Path) -> None:
    """Clients that leave half-way or are refused leave nothing for a search for garbage."""
    left = b"Content-Length: %d\r\n\r\n" % (25 * MIB) + b"x" * (24 * MIB)
    refused = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (26 * MIB) + b"x" * (26 * MIB)
    with serving(home, JOBS) as service:
        url = service.client.base_url
        for sent in (left, refused) * UNFINISHED:
            with socket.create_connection((url.host, url.port or 80)) as client:
                client.sendall(b"POST /webhook HTTP/1.1\r\nHost: test\r\n" + sent)
                client.shutdown(socket.SHUT_WR)
                while client.recv(2**16):
                    pass
        assert peak_mib(service) < UNFINISHED_BOUND_MIB
        assert service.stop() == 0
