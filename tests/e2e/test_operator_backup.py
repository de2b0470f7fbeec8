"""`service backup`: online, whole, checked, and able to be restored."""

import json
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Self

import pytest

from service.core.run import Status
from tests.harness import Service, serving, until

JOBS = """
from service import Context, CronJob, task

@task("tick")
async def tick(ctx: Context) -> None:
    pass

CRON_JOBS = [CronJob(id="seconds", schedule="* * * * * *", job_id="tick")]
"""

SENDERS = 4


class Senders:
    """Send webhooks as fast as they are answered, and remember those that were."""

    def __init__(self, service: Service) -> None:
        self.accepted: list[str] = []
        self.refused: list[int] = []
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(service,)) for _ in range(SENDERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send(self, service: Service) -> None:
        while not self._ended.is_set():
            response = service.post({"jobId": "echo", "payload": "x" * 10_000})
            if response.status_code == 202:
                self.accepted.append(response.headers["X-Run-Id"])
            else:
                self.refused.append(response.status_code)


def ids_in(path: Path) -> set[str]:
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {row[0] for row in database.execute("SELECT id FROM runs")}
    finally:
        database.close()


def test_a_backup_under_full_load_is_restored(home: Path) -> None:
    """Webhooks go on, what was accepted before is in it, and a service lives on from it."""
    with serving(home, JOBS) as service:
        with Senders(service) as senders:
            until(lambda: len(senders.accepted) > 300 or None, "there is something to copy")
            before = list(senders.accepted)
            done = service.command("backup", "kept.sqlite3", "--json")
            assert done.returncode == 0, done.stderr
            during = len(senders.accepted)
            assert during > len(before)
            until(lambda: len(senders.accepted) > during, "webhooks go on")
        assert not senders.refused
        made = json.loads(done.stdout)
        assert made["file"] == str(home / "kept.sqlite3")
        assert Path(made["file"]).stat().st_size == made["sizeBytes"]
        assert Path(made["file"]).stat().st_mode & 0o077 == 0
        service.kill()
    left = {path.name for path in home.iterdir()}
    assert left == {"data", "jobs.py", "kept.sqlite3", "log.jsonl"} | ({"__pycache__"} & left)
    shutil.rmtree(home / "data")
    (home / "data").mkdir()
    shutil.copy(home / "kept.sqlite3", home / "data" / "runs.sqlite3")
    assert set(before) <= ids_in(home / "kept.sqlite3")
    with serving(home) as restored:
        for run in restored.runs()[:50]:
            restored.run_until(str(run["id"]), Status.OK)
        done = restored.command("verify")
        assert done.returncode == 0, done.stdout
        fresh = restored.post({"jobId": "echo"}).headers["X-Run-Id"]
        restored.run_until(fresh, Status.OK)


def test_a_backup_of_a_stopped_service_is_the_same(home: Path) -> None:
    """The file is opened for it, and an earlier backup replaced."""
    with serving(home) as service:
        first = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        assert service.command("backup", "kept").returncode == 0
        second = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(second, "ok")
        assert service.stop() == 0
    assert ids_in(home / "kept") == {first}
    done = service.command("backup", "kept")
    assert "bytes, checked" in done.stdout
    assert ids_in(home / "kept") == {first, second}


def test_a_backup_of_a_store_in_memory_lives_on_in_a_file(home: Path) -> None:
    """No file is the store's own, so a backup may be put where the next service looks for it."""
    with serving(home, RUN_STORE="memory") as service:
        run_id = service.post({"jobId": "echo"}).headers["X-Run-Id"]
        service.run_until(run_id, Status.OK)
        for _ in range(2):
            done = service.command("backup", "data/runs.sqlite3")
            assert done.returncode == 0, done.stderr
        assert service.stop() == 0
    with serving(home) as again:
        assert again.run(run_id)["status"] == Status.OK


@pytest.mark.parametrize("alive", [True, False], ids=["running", "stopped"])
def test_a_backup_never_harms_what_it_finds(home: Path, *, alive: bool) -> None:
    """The database itself, another file, a folder that is not there: refused, with the reason."""
    with serving(home) as service:
        if not alive:
            assert service.stop() == 0
        (home / "notes").write_text("dear diary", encoding="utf-8")
        (home / "linked").hardlink_to(home / "data" / "runs.sqlite3")
        for target, says in (
            ("data/runs.sqlite3", "is the database itself"),
            ("linked", "is the database itself"),
            ("data/runs.sqlite3-wal", "no backup of ours"),
            ("notes", "no backup of ours"),
            ("data", "no backup of ours"),
            ("nowhere/kept", "there is no such folder"),
        ):
            if (home / target).exists() or target.startswith("nowhere"):
                done = service.command("backup", target)
                assert (done.returncode, says in done.stderr) == (1, True), done.stderr
                assert "Traceback" not in done.stderr
        assert (home / "notes").read_text(encoding="utf-8") == "dear diary"
        if alive:
            run_id = service.post({"jobId": "echo"}).headers["X-Run-Id"]
            service.run_until(run_id, "ok")
            assert service.stop() == 0
    with serving(home) as again:
        assert again.command("verify").returncode == 0
