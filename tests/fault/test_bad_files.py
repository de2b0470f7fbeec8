"""A file that cannot be ours is refused with one line and exit code 74, and stays as it is."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from service.cli.main import EX_CONFIG, EX_STORE
from service.core.run import Status, Trigger
from service.messages import Accepted, Enqueue, GetRun
from service.storage.database import Database
from service.storage.opening import APPLICATION_ID
from service.storage.queries import answer
from tests.harness import environ_for, launch, serving

NOW: Final = datetime(2026, 3, 4, 12, tzinfo=UTC)
PAGE_BYTES: Final = 4096
STORE: Final = Path("data/runs.sqlite3")
RUNS: Final = 200
NO_CAPABILITIES: Final = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-all",
    "--",
)
"""Makes root obey the rights of files, as the service's own user in a container does."""

Damage: TypeAlias = Callable[[Path], None]
Picture: TypeAlias = Mapping[str, tuple[int, int, bytes]]


def make_store(folder: Path, *, hot: bool) -> Path:
    """Make a store with some runs; a hot one has them in the log that a kill -9 left behind."""
    source = folder.with_name(f"{folder.name}-source") / STORE.name
    fill(Database.open(source), range(RUNS)).close()
    database = fill(Database.open(source), range(RUNS, RUNS + 5))
    if not hot:
        database.close()
    shutil.copytree(source.parent, folder)
    if hot:
        database.close()
    shutil.rmtree(source.parent)
    assert log_of(folder / STORE.name).exists() is hot
    return folder / STORE.name


def fill(database: Database, numbers: range) -> Database:
    for number in numbers:
        with database.transaction() as db:
            answer(question(f"run-{number}"), db, NOW)
    return database


def question(run_id: str) -> Enqueue:
    return Enqueue(
        run_id=run_id, job_id="nobody's", trigger=Trigger.WEBHOOK, payload="{}", max_attempts=1
    )


def log_of(store: Path) -> Path:
    return store.with_name(f"{store.name}-wal")


def picture(folder: Path) -> Picture:
    """Return all there is to see below `folder`: what exists, since when, and what it holds."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def refuse(
    home: Path, wrapper: Sequence[str] = (), command: Sequence[str] = ("run",), **settings: str
) -> str:
    """Start the service, see that it refuses the file as promised, and return its one line."""
    data = home / STORE.parent
    before = picture(data)
    ended = subprocess.run(
        [*wrapper, sys.executable, "-B", "-m", "service", *command],
        cwd=home,
        env=environ_for(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == EX_STORE, ended.stdout + ended.stderr
    assert picture(data) == before
    [line] = ended.stderr.splitlines()
    assert line.startswith("service: ")
    assert str(STORE) in line
    return line


def corrupt_page(store: Path) -> None:
    """Overwrite the first page that the log does not hold anew."""
    page = next(number for number in count(2) if number not in pages_in(log_of(store)))
    with store.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def pages_in(log: Path) -> set[int]:
    """Return the numbers of the pages in a log (https://sqlite.org/fileformat.html)."""
    frames = log.read_bytes()[32:] if log.exists() else b""
    return {
        int.from_bytes(frames[start : start + 4], "big")
        for start in range(0, len(frames), 24 + PAGE_BYTES)
    }


def cut_short(store: Path) -> None:
    with store.open("r+b") as file:
        file.truncate(2 * PAGE_BYTES)


def cut_within_a_page(store: Path) -> None:
    with store.open("r+b") as file:
        file.truncate(PAGE_BYTES + 100)


def cut_within_the_header(store: Path) -> None:
    with store.open("r+b") as file:
        file.truncate(50)


def empty(store: Path) -> None:
    store.write_bytes(b"")


def set_header(store: Path, place: int, value: int) -> None:
    """Write a number of the header (https://sqlite.org/fileformat.html)."""
    with store.open("r+b") as file:
        file.seek(place)
        file.write(value.to_bytes(4, "big"))


def make_foreign(store: Path) -> None:
    set_header(store, 68, APPLICATION_ID + 1)


def make_newer(store: Path) -> None:
    set_header(store, 60, 9999)


def replace_by_text(store: Path) -> None:
    store.write_text("dear diary\n" * 100, encoding="utf-8")


def take_write_right(store: Path) -> None:
    store.chmod(0o444)


@pytest.mark.parametrize("hot", [False, True], ids=["closed", "killed"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (corrupt_page, "damaged|malformed"),
        (cut_short, "cut short|damaged|malformed"),
        (cut_within_a_page, "cut short|damaged|malformed"),
        (cut_within_the_header, "not a SQLite database"),
        (empty, "is empty"),
        (make_foreign, "another program's"),
        (make_newer, "schema version 9999.*newer service"),
        (replace_by_text, "not a SQLite database"),
        (take_write_right, "not writable"),
    ],
)
def test_bad_file_is_refused_and_left_alone(
    home: Path, damage: Damage, says: str, *, hot: bool
) -> None:
    """Whatever is wrong with the file, and with a log beside it, not one byte changes."""
    store = make_store(home / STORE.parent, hot=hot)
    damage(store)
    assert re.search(says, refuse(home))


def test_damage_that_a_command_comes_upon_is_told(home: Path) -> None:
    """The look for damage does not reach the end of a large file; a question may."""
    store = make_store(home / STORE.parent, hot=False)
    with closing(sqlite3.connect(store)) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'")
    with store.open("r+b") as file:
        file.seek((root[0] - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    code = """
from service.storage import opening
opening._quick_check = lambda *_: None
from service.cli import main
main(["runs"])
"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=home, env=environ_for(), capture_output=True, check=False
    )
    assert told.returncode == EX_STORE
    [line] = told.stderr.decode().splitlines()
    assert line.startswith("service: the store is damaged: database disk image is malformed")
    assert line.endswith("; restore a backup")


def test_folder_in_place_of_the_file_is_refused(home: Path) -> None:
    """A folder under the file's name is left alone, with what is in it."""
    (home / STORE).mkdir(parents=True)
    (home / STORE / "kept").write_text("kept", encoding="utf-8")
    assert "directory" in refuse(home)


def test_another_programs_database_is_refused(home: Path) -> None:
    """A real database of somebody else's, not only one with another mark."""
    (home / STORE.parent).mkdir()
    other = sqlite3.connect(home / STORE)
    other.execute("CREATE TABLE runs (id)")
    other.close()
    assert "another program's" in refuse(home)


def test_second_process_is_refused_while_the_first_works(home: Path) -> None:
    """Two services on one file: the second one leaves, and the first notices nothing."""
    with serving(home) as first:
        accepted = first.post({"jobId": "echo", "payload": 1}).headers["X-Run-Id"]
        first.run_until(accepted, "ok")
        assert "in use by another process" in refuse(home, CONTROL_SOCKET=str(home / "second"))
        again = first.post({"jobId": "echo", "payload": 2}).headers["X-Run-Id"]
        first.run_until(again, "ok")
        assert first.stop() == 0


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "no rights"])
@pytest.mark.parametrize("hot", [None, False, True], ids=["no store", "closed", "killed"])
def test_folder_without_rights_is_refused(home: Path, mode: int, *, hot: bool | None) -> None:
    """A folder that may not be written is refused, whether a store lies there or not."""
    data = home / STORE.parent
    if hot is None:
        data.mkdir()
    else:
        make_store(data, hot=hot)
    data.chmod(mode)
    try:
        line = refuse(home, without_capabilities())
    finally:
        data.chmod(0o755)
    assert "writable" in line or "denied" in line


def without_capabilities() -> Sequence[str]:
    """Return what goes before a command so that root, too, obeys the rights of files."""
    if os.geteuid() != 0:
        return ()
    if shutil.which(NO_CAPABILITIES[0]) is None:
        pytest.skip("root ignores the rights of files, and setpriv (util-linux) is not here")
    return NO_CAPABILITIES


def test_missing_folder_is_made(home: Path) -> None:
    """The first start makes the folder and the store, and nothing else in it."""
    path = Path("a/b/c/runs.sqlite3")
    with serving(home, RUN_STORE_SQLITE_PATH=str(path)) as service:
        assert service.stop() == 0
    assert [found.name for found in (home / path).parent.iterdir()] == [path.name]


def test_link_to_the_file_is_followed(tmp_path: Path) -> None:
    """The log lies beside the file itself, so both ways to it find the same runs."""
    link = tmp_path / "link"
    link.symlink_to(make_store(tmp_path / "data", hot=True))
    database = Database.open(link)
    assert database.connection.execute("SELECT count(*) FROM runs").fetchone() == (RUNS + 5,)
    database.close()
    assert {path.name for path in tmp_path.iterdir()} == {"link", "data"}


def test_links_in_a_circle_are_refused(home: Path) -> None:
    """A name that leads nowhere is no reason for a traceback."""
    (home / STORE).parent.mkdir()
    (home / STORE).symlink_to(STORE.name)
    assert "cannot be looked at" in refuse(home)


def test_folder_whose_name_is_not_utf_8_is_refused(home: Path) -> None:
    """Also when it is not in the setting, because the setting is relative to it."""
    odd = home / "\udcff"
    odd.mkdir()
    assert "not UTF-8" in refuse(odd)
    assert list(odd.iterdir()) == []


def test_scaffold_of_a_killed_start_is_no_obstacle(tmp_path: Path) -> None:
    """A start that was killed while it made the store had, in a container, the same number."""
    scaffold = tmp_path / f"{STORE.name}.new-{os.getpid()}"
    make_old_store(scaffold, 1)
    Database.open(tmp_path / STORE.name).close()
    assert [path.name for path in tmp_path.iterdir()] == [STORE.name]


def test_log_of_a_killed_service_is_taken_in(home: Path) -> None:
    """The hot log by which bad files were tried is itself no fault: every run in it is there."""
    make_store(home / STORE.parent, hot=True)
    with serving(home) as service:
        assert {run["id"] for run in service.runs()} == {f"run-{n}" for n in range(RUNS + 5)}


def versions() -> Mapping[int, str]:
    """Return each schema version with the script that leads to it."""
    folder = resources.files("service.storage") / "migrations"
    return {
        int(script.name.split("_")[0]): script.read_text(encoding="utf-8")
        for script in sorted(folder.iterdir(), key=lambda script: script.name)
        if script.name.endswith(".sql")
    }


def make_old_store(store: Path, version: int) -> None:
    store.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for number, script in versions().items():
        if number <= version:
            connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("PRAGMA journal_mode = WAL")
    answer(question("old"), connection, NOW)
    connection.close()


@pytest.mark.parametrize("version", versions())
def test_old_schema_moves_forward_with_its_data(home: Path, version: int) -> None:
    """A store of each earlier version opens, has what it had, and equals a new one in schema."""
    make_old_store(home / STORE, version)
    old, new = Database.open(home / STORE), Database.open(None)
    with old.transaction() as db:
        run = answer(GetRun("old"), db, NOW)
        assert run is not None
        accepted = answer(question("new"), db, NOW)
    assert (run.status, run.job_id, run.created_at) == (Status.QUEUED, "nobody's", NOW)  # type: ignore[attr-defined]
    assert isinstance(accepted, Accepted)
    schema = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"
    assert old.connection.execute(schema).fetchall() == new.connection.execute(schema).fetchall()
    old.close()
    new.close()


@pytest.mark.parametrize("hot", [False, True], ids=["closed", "killed"])
@pytest.mark.parametrize("version", list(versions())[:-1])
def test_old_schema_is_upgraded_by_the_service_alone(
    home: Path, version: int, *, hot: bool
) -> None:
    """A command that only looks, or pauses a job, or makes a copy, changes not one byte of it."""
    make_old_store(home / STORE, version)
    if hot:
        leave_a_log(home / STORE)
    for command in (["runs"], ["cron"], ["pause", "echo"], ["backup", "kept"]):
        line = refuse(home, command=command)
        assert f"has schema version {version}, this service needs {len(versions())}" in line
        assert "start the service" in line
    with serving(home) as service:
        assert {run["id"] for run in service.runs()} == {"old", *(["logged"] if hot else [])}
        assert service.stop() == 0
        assert service.command("runs").returncode == 0


def leave_a_log(store: Path) -> None:
    """Write a run as a service does that is killed then: it is in the log, not in the file."""
    living = store.with_name("living")
    store.rename(living)
    connection = sqlite3.connect(living, isolation_level=None)
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    answer(question("logged"), connection, NOW)
    shutil.copy(living, store)
    shutil.copy(log_of(living), log_of(store))
    connection.close()
    living.unlink()


def test_check_says_that_the_next_start_upgrades(home: Path) -> None:
    """It is asked before the start, so an older schema is no fault."""
    make_old_store(home / STORE, 1)
    service = launch(home, PORT="none")
    assert service.wait() == EX_CONFIG
    service.environ = environ_for()
    before = picture(home / STORE.parent)
    done = service.command("check")
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()[-1]
    assert "start the service, which upgrades it" in told
    found = json.loads(service.command("check", "--json").stdout)
    assert found["changes"] is None
    assert told.endswith(found["upgrade"])
    assert picture(home / STORE.parent) == before
