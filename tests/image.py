"""Builds the image, starts it as Kubernetes would and looks: `make image-test`.

Read-only root, no capabilities, no new privileges, the image's own user, one volume. Then what an
operator and a caller would do, and SIGTERM. It needs docker or podman; without one it says so.
"""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import which
from typing import Final, Never
from urllib.error import URLError
from urllib.request import urlopen

START_SECONDS: Final = 30.0
HARDENED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


def main(image: str) -> None:
    """Look at the image of this name."""
    engine = which("docker") or which("podman")
    if engine is None or _failed(engine, "version"):
        _give_up("no container engine runs here (docker or podman): the image was not tested")
    with _container(engine, image) as name:
        address = _answer(engine, "port", name, "3000/tcp").splitlines()[0]
        health = _health(f"http://{address}/_health")
        _say("health ", health)
        user = _answer(engine, "exec", name, "id", "-u")
        _say("user ", user)
        if user == "0" or not _failed(engine, "exec", name, "touch", "/jobs/file"):
            _give_up("the image runs as root, or its root can be written to")
        runs = json.loads(_answer(engine, "exec", name, "service", "runs", "--json") or "[]")
        _say("runs", str(len(runs)))
        _answer(engine, "stop", "--time=40", name)
        code = _answer(engine, "inspect", "--format={{.State.ExitCode}}", name)
        _say("exit code", code)
        if code != "0":
            _give_up(_answer(engine, "logs", name))


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


def _health(url: str) -> str:
    began = time.monotonic()
    while time.monotonic() - began < START_SECONDS:
        try:
            with urlopen(url, timeout=5) as answer:  # noqa: S310 - our own container
                return f"{answer.read().decode()} after {time.monotonic() - began:.1f} s"
        except (URLError, ConnectionError):
            time.sleep(0.05)
    return _give_up(f"not healthy within {START_SECONDS:g} s")


def _say(what: str, found: str) -> None:
    sys.stdout.write(f"{what:<12}{found}\n")


def _answer(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _failed(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode != 0


def _give_up(why: str) -> Never:
    sys.exit(why)


if __name__ == "__main__":
    main(sys.argv[1])
