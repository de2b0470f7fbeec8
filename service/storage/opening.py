"""Opens the database file: made if missing, refused if not ours, owned, brought to our schema.

Theory of operation
-------------------
One connection owns the file: it takes SQLite's exclusive lock before the write-ahead log is
opened, so a second process is refused, and nobody else can checkpoint (SQLite before 3.51.3 can
lose commits when two connections do).

A new database is built under another name and linked to its own name when it is complete and on
disk, so a file under that name is never empty or half made; one that is was not left by us, and is
refused.
A file that is refused is not changed. Closing a connection would write the log into it, so the
refusing connection is left open in the error's traceback and the process is expected to end
without cleaning up (`os._exit`).
"""

import contextlib
import os
import sqlite3
import threading
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

from service.core.errors import StoreOutdated, StoreRefused
from service.storage.faults import is_broken, primary_code

APPLICATION_ID: Final = 0x63776273
"""Says that a SQLite file is ours (``PRAGMA application_id``)."""

MEMORY: Final = ":memory:"

CHECK_SECONDS: Final = 0.1
"""How long the look for damage at start may take; a large file is not checked to its end."""

GLANCE_SECONDS: Final = 0.02
"""The same for a command, which someone waits for and which ends soon."""

_LOCK_WAIT_SECONDS: Final = 2.0
_HEADER_BYTES: Final = 100
_STATEMENTS_KEPT: Final = 512
"""Prepared statements: most there are, for one of several rows is another with each number."""


def open_connection(path: Path | None) -> sqlite3.Connection:
    """Open the database at `path`, or a new one in memory; create and migrate as needed.

    Raises StoreRefused, having changed nothing, when the file cannot be ours.
    """
    if path is None:
        connection = _connect(f"file:{MEMORY}")
        _prepare_new(connection)
        return connection
    path = _real(path)
    if not _exists(path):
        _create(path)
    _demand_ours(path)
    return _opened(path, CHECK_SECONDS)


def open_as_it_is(path: Path) -> sqlite3.Connection:
    """Open the database at `path`, which is neither created nor migrated.

    Raises StoreRefused, having changed nothing, when the file cannot be ours; StoreOutdated when
    its schema is older than ours.
    """
    path = _real(path)
    version, newest = _demand_ours(path), _newest_version()
    if version < newest:
        raise StoreOutdated(
            f"{path}: has schema version {version}, this service needs {newest}; "
            "start the service, which upgrades it"
        )
    return _opened(path, GLANCE_SECONDS)


def log_of(path: Path) -> Path:
    """Return where the log of the database at `path` lies: beside the file, not beside a link."""
    real = _real(path)
    return real.with_name(f"{real.name}-wal")


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none, or none to be seen."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _opened(path: Path, check_seconds: float) -> sqlite3.Connection:
    connection = _connect(f"file:{quote(str(path))}?mode=rw")
    _own(connection, path, check_seconds)
    _make_ready(connection, path)
    _sync_log_entry(path)
    return connection


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=_LOCK_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS_KEPT,
    )


def _real(path: Path) -> Path:
    try:
        real = path.resolve()
        str(real).encode()
    except (OSError, RuntimeError) as error:  # which of them a loop of links is, Python varies
        raise StoreRefused(f"{path}: cannot be looked at: {error}") from error
    except UnicodeEncodeError as error:
        raise StoreRefused(f"{path}: is in a folder whose name is not UTF-8; rename it") from error
    return real


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreRefused(f"{path}: cannot be looked at: {error.strerror}") from error
    return True


def _create(path: Path) -> None:
    """Build a new database beside `path` and link it there when it is complete."""
    building = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_closed_folder(path)
        _tear_down(building)  # a start that was killed may have had our number
        try:
            _build(building)
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(building, path)
        finally:
            _tear_down(building)
        for folder in (path.parent, *(each.parent for each in made)):
            sync_folder(folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"{path}: cannot be created: {error}") from error


def _tear_down(building: Path) -> None:
    for suffix in ("", "-journal", "-wal"):
        building.with_name(building.name + suffix).unlink(missing_ok=True)


def _build(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # payloads may be secret
    connection = _connect(f"file:{quote(str(path))}?mode=rw")
    try:
        connection.execute("PRAGMA synchronous = OFF")  # nobody knows it yet: once, below, will do
        connection.execute("PRAGMA journal_mode = MEMORY")
        _prepare_new(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _sync(path, os.O_RDONLY)


def _prepare_new(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for version, script in _migrations():
        _apply(connection, version, script)


def _sync_log_entry(path: Path) -> None:
    """Sync the folder in which the log was made: SQLite does, but overlooks that it failed."""
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise StoreRefused(f"{path}: its folder cannot be synced: {error.strerror}") from error


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on disk. Raises OSError."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_closed_folder(path: Path) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreRefused(f"{path}: its folder is not writable; its log has to lie beside it")


def _demand_ours(path: Path) -> int:
    """Refuse a file whose header (https://sqlite.org/fileformat.html) is not ours.

    Returns the version of its schema.
    """
    try:
        if not os.access(path, os.R_OK | os.W_OK) or not path.stat().st_mode & 0o222:
            raise StoreRefused(f"{path}: is not writable; the service needs to read and write it")
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise StoreRefused(f"{path}: cannot be read: {error.strerror}") from error
    _refuse_closed_folder(path)
    if not header:
        raise StoreRefused(f"{path}: is empty, and no store ever is; restore it or remove it")
    if len(header) < _HEADER_BYTES or not header.startswith(b"SQLite format 3\x00"):
        raise StoreRefused(f"{path}: is not a SQLite database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreRefused(f"{path}: is another program's SQLite database")
    version = int.from_bytes(header[60:64], "big")
    _refuse_newer(path, version)
    page_bytes = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page_bytes == 1 else page_bytes)
    if size < expected and not size_of(log_of(path)):
        raise StoreRefused(f"{path}: is cut short, {size} of {expected} bytes; restore a backup")
    return version


def _refuse_newer(path: Path, version: int) -> None:
    newest = _newest_version()
    if version > newest:
        raise StoreRefused(
            f"{path}: has schema version {version}, this service knows up to {newest}; "
            "run the newer service"
        )


def _own(connection: sqlite3.Connection, path: Path, check_seconds: float) -> None:
    """Take the exclusive lock, then look for damage as far as a short look reaches."""
    log = log_of(path)
    had_log = log.exists()
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        faults = _quick_check(connection, check_seconds)
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_BUSY:
            raise StoreRefused(f"{path}: is in use by another process") from error
        if not is_broken(error):
            raise StoreRefused(f"{path}: {error}") from error
        faults = str(error)
    if faults:
        if not had_log:
            log.unlink(missing_ok=True)  # SQLite made it, empty, when it took the lock
        raise StoreRefused(f"{path}: is damaged: {faults}; restore a backup")


def _quick_check(connection: sqlite3.Connection, seconds: float) -> str | None:
    """Return the first fault that SQLite finds in the time it has, or None."""
    end = threading.Timer(seconds, connection.interrupt)
    end.start()
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if primary_code(error) == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        end.cancel()
        end.join()
    return None if found == "ok" else " ".join(str(found).split())


def _make_ready(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version, one transaction a version, and write ahead."""
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _refuse_newer(path, version)
        missing = [step for step in _migrations() if step[0] > version]
        for target, script in missing:
            _apply(connection, target, script)
        if missing:  # so that the header tells the version even after a kill
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("PRAGMA journal_mode = WAL")  # a restored backup may have another,
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # and then no log yet
    except sqlite3.Error as error:
        raise StoreRefused(f"{path}: cannot be migrated: {error}") from error


def _apply(connection: sqlite3.Connection, version: int, script: str) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;"
    )


def _newest_version() -> int:
    return _migrations()[-1][0]


@cache
def _migrations() -> tuple[tuple[int, str], ...]:
    """Return the schema's versions in order, each with its script."""
    folder = resources.files("service.storage") / "migrations"
    scripts = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return tuple(
        (int(name.split("_", 1)[0]), scripts[name].read_text(encoding="utf-8"))
        for name in sorted(scripts)
    )
