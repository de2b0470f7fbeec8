"""A GitHub of our own: a real server on this machine, that counts, limits and fails."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import attrs

REPO = "/repos/a/b"
LONG_AGO = "2020-01-01T00:00:00Z"
LATELY = "2999-01-01T00:00:00Z"

ANSWERS: dict[str, object] = {
    f"{REPO}/pulls": [
        {"title": "Sleep well", "merged_at": LATELY},
        {"title": "Refused", "merged_at": None},
        {"title": "Old", "merged_at": LONG_AGO},
    ],
    f"{REPO}/releases": [
        {"name": "2.0", "published_at": LATELY},
        {"name": "1.0", "published_at": LONG_AGO},
    ],
    f"{REPO}/issues": [{"title": "Too loud"}],
    f"{REPO}/releases/tags/2.0": {"body": "It sleeps.", "assets": [{"name": "b.tar.gz"}]},
    f"{REPO}/commits/2.0/check-runs": {"check_runs": [{"name": "tests", "conclusion": "success"}]},
    f"{REPO}/contents/CHANGELOG.md": {"sha": "1"},
}

Trouble = Callable[["FakeGitHub", str, int], tuple[int, dict[str, str]] | None]
"""Called with the path and the number of the request: a status and headers instead of an answer."""


def no_trouble(_github: "FakeGitHub", _path: str, _number: int) -> None:
    """Let every request be answered."""


@attrs.define(eq=False)
class FakeGitHub:
    """What it was asked, and what it does about it."""

    url: str
    trouble: Trouble = no_trouble
    asked: Counter[str] = attrs.field(factory=Counter)
    answered: Counter[str] = attrs.field(factory=Counter)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self.asked[path] += 1
            number = self.asked.total()
        refused = self.trouble(self, path, number)
        if refused is not None:
            return (*refused, b'{"message": "no"}')
        if path not in ANSWERS:
            return 404, {}, b'{"message": "Not Found"}'
        with self._lock:
            self.answered[path] += 1
        return 200, {}, json.dumps(ANSWERS[path]).encode()


@contextmanager
def fake_github(trouble: Trouble = no_trouble) -> Iterator[FakeGitHub]:
    """Hold a GitHub that listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = github.answer(urlsplit(self.path).path)
            if status == 0:  # hang up
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        github = FakeGitHub(f"http://127.0.0.1:{server.server_address[1]}", trouble)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield github
        finally:
            server.shutdown()
            thread.join()


def limited_for(seconds: float) -> dict[str, str]:
    """Return the headers of GitHub's rate limit, used up for so long."""
    reset = int(time.time() + seconds)
    return {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
