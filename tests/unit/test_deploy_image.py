"""The image's recipe, as far as it can be read; `make image-test` builds it and starts it."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from service.settings import read_settings
from tests.harness import ROOT

SOURCE: Final = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
RECIPE: Final = re.sub(r"\\\n|^#.*\n", "", SOURCE, flags=re.MULTILINE)


def steps(word: str) -> list[str]:
    """Return what follows each instruction of this name."""
    return [
        line.split(maxsplit=1)[1] for line in RECIPE.splitlines() if line.startswith(f"{word} ")
    ]


def test_the_context_is_what_the_recipe_copies() -> None:
    """The build is sent what it copies and nothing else: no .git, no data, no secrets."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [step.split()[:-1] for step in steps("COPY") if not step.startswith("--from=")]
    assert "*" in lines
    assert sent == {source for sources in copied for source in sources}
    assert all((ROOT / each).exists() for each in sent)


def test_the_recipe_installs_what_the_locks_hold() -> None:
    """Every install takes hashes, or nothing from the network."""
    installs = re.findall(r"pip [^&]*?(?:install|wheel) ([^&]*)", "&".join(steps("RUN")))
    assert len(installs) == 4
    for words in installs:
        assert (
            "--require-hashes" in words or "--no-index" in words or "--no-build-isolation" in words
        )


def test_the_image_starts_as_kubernetes_wants_it() -> None:
    """Exec form, so that signals arrive; a number as its user, that is not root; one volume."""
    [entry], [command], [user] = steps("ENTRYPOINT"), steps("CMD"), steps("USER")
    assert (json.loads(entry), json.loads(command)) == (["service"], ["run"])
    assert fnmatch(user, "[1-9]*:[1-9]*")
    assert steps("VOLUME") == ["/data"]


def test_the_image_writes_to_its_volume_alone() -> None:
    """The database, the control socket and temporary files lie in /data."""
    pairs = re.findall(r"(\w+)=(\S+)", steps("ENV")[-1])
    settings = read_settings(dict(pairs))
    assert settings.run_store_sqlite_path.parent == settings.control_socket.parent == Path("/data")
    assert dict(pairs)["TMPDIR"] == "/data"
