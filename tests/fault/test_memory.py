"""What hostile senders can make the real process hold in memory."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx

from tests.harness import Service, serving, until

SENDERS: Final = 8
BODY: Final = b'{"jobId": "forget", "payload": "%b"}' % (b"x" * (25 * 2**20 - 100))
BOUND_MIB: Final = 600
"""With one runner; more than half of what it would be if nobody had to wait for room."""

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
