"""The file of the store is moved, removed or replaced under the running service."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.harness import Service, serving
from tests.torture.postmortem import PostMortem

STORE: Final = "runs.sqlite3"
LOG: Final = f"{STORE}-wal"


def move(folder: Path) -> str:
    (folder / STORE).rename(folder / "aside")
    return STORE


def remove(folder: Path) -> str:
    (folder / STORE).unlink()
    return STORE


def remove_log(folder: Path) -> str:
    (folder / LOG).unlink()
    return LOG


def replace(folder: Path) -> str:
    """Put another under its name, as who restores a backup and forgets to stop the service."""
    shutil.copy(folder / STORE, folder / "copy")
    (folder / "copy").rename(folder / STORE)
    return STORE


def refused(service: Service, name: str) -> None:
    answer = service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert f"{name} was moved or removed" in answer.json()["message"]
    health = service.client.get("/_health")
    assert health.status_code == 503
    assert name in health.json()["message"]
    assert service.client.get("/_health?live").status_code == 200


@pytest.mark.parametrize("harm", [move, remove, remove_log, replace])
def test_nothing_is_accepted_that_no_start_would_find(
    home: Path, harm: Callable[[Path], str]
) -> None:
    """No 2xx goes into a file without a name; what was answered before can be saved from it."""
    with serving(home) as service:
        before = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(before, "ok")
        refused(service, harm(home / "data"))
        saved = service.command("backup", "saved")
        assert saved.returncode == 0, saved.stderr
        assert service.stop() == 0
    assert PostMortem.of(home / "saved").runs.keys() == {before}


def test_file_that_is_put_back_is_used_again(home: Path) -> None:
    """Without a restart, and the delivery that was refused runs."""
    with serving(home) as service:
        before = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(before, "ok")
        name = move(home / "data")
        refused(service, name)
        (home / "data" / "aside").rename(home / "data" / name)
        answer = service.post({"jobId": "echo"}, {"X-GitHub-Delivery": "wanted"})
        assert answer.status_code == 202
        assert "Idempotent-Replayed" not in answer.headers
        after = answer.headers["X-Run-Id"]
        service.run_until(after, "ok")
        assert service.client.get("/_health").json() == {"status": "ok"}
        assert service.stop() == 0
    found = PostMortem.of(home / "data" / STORE)
    assert found.runs.keys() == {before, after}
    assert found.faults == ()


def test_backup_is_not_put_beside_the_log_of_a_removed_file(home: Path) -> None:
    """The next start would take the log into it; another name has no such log."""
    with serving(home) as service:
        remove(home / "data")
        denied = service.command("backup", f"data/{STORE}")
        assert (denied.returncode, "name another file" in denied.stderr) == (1, True)
        assert service.stop() == 0
