"""Starts the image as Kubernetes would and looks: `make image-test`, which builds it first.

Read-only root, no capabilities, no new privileges, the image's own user, one volume. Then what a
caller and an operator would do, SIGTERM, and a second start on what the first one left.
"""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Never
from urllib.error import URLError
from urllib.request import Request, urlopen

START_SECONDS: Final = 30.0
HARDENED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def main(engine: str, image: str) -> None:
    """Look at the image of this name, by way of an engine: docker or podman."""
    with _container(engine, image) as name:
        _say("health", _health(engine, name))
        user = _answer(engine, "exec", name, "id", "-u")
        _say("user", user)
        if user == "0" or not _failed(engine, "exec", name, "touch", "/jobs/file"):
            _give_up("the image runs as root, or its root can be written to")
        run_id = _accepted(engine, name)
        _say("accepted", run_id)
        _stop(engine, name)
        _answer(engine, "start", name)
        _say("health", _health(engine, name))
        kept = json.loads(_answer(engine, "exec", name, "service", "runs", "--json"))
        _say("runs kept", str(len(kept)))
        if run_id not in {run["id"] for run in kept}:
            _give_up("what was accepted is not there after a restart")
        _stop(engine, name)


@contextmanager
def _container(engine: str, image: str) -> Iterator[str]:
    name = f"image-test-{secrets.token_hex(4)}"
    _answer(
        engine, "run", "--detach", f"--name={name}", *HARDENED, "--publish=127.0.0.1::3000", image
    )
    try:
        yield name
    finally:
        _answer(engine, "rm", "--force", "--volumes", name)


def _health(engine: str, name: str) -> str:
    """Wait until the service is healthy; tell what it said, and when."""
    began = time.monotonic()
    while time.monotonic() - began < START_SECONDS:
        try:
            with urlopen(_url(engine, name, "/_health"), timeout=5) as answer:  # noqa: S310 - our own container
                return f"{answer.read().decode()} after {time.monotonic() - began:.1f} s"
        except (URLError, ConnectionError):
            time.sleep(0.05)
    return _give_up(f"not healthy within {START_SECONDS:g} s")


def _accepted(engine: str, name: str) -> str:
    """Send a webhook; return the id of its run."""
    asked = Request(_url(engine, name, "/webhook"), data=b'{"jobId": "echo"}')  # noqa: S310 - as above
    with urlopen(asked, timeout=5) as answer:  # noqa: S310 - as above
        return str(answer.headers["X-Run-Id"])


def _stop(engine: str, name: str) -> None:
    """Stop the service as Kubernetes does, and demand that it ends by itself, and well."""
    _answer(engine, "stop", "--time=40", name)
    code = _answer(engine, "inspect", "--format={{.State.ExitCode}}", name)
    _say("exit code", code)
    if code != "0":
        _give_up(_answer(engine, "logs", name))


def _url(engine: str, name: str, path: str) -> str:
    return f"http://{_answer(engine, 'port', name, '3000/tcp').splitlines()[0]}{path}"


def _say(what: str, found: str) -> None:
    sys.stdout.write(f"{what:<12}{found}\n")


def _answer(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _failed(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


def _give_up(why: str) -> Never:
    sys.exit(why)


if __name__ == "__main__":
    main(*sys.argv[1:])
