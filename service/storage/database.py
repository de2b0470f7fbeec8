"""The database file: opened by one owner, brought to our schema, and written in groups.

Theory of operation
-------------------
One connection owns the file: it takes SQLite's exclusive lock before the write-ahead log is
opened, so a second process is refused, and nobody else can checkpoint (SQLite before 3.51.3 can
lose commits when two connections do).

A new database is built under another name and linked to its own name when it is complete, so a
file under that name is never empty or half made; one that is was not left by us, and is refused.
A file that is refused is not changed. Closing a connection would write the log into it, so the
refusing connection is left open in the error's traceback and the process is expected to end
without cleaning up (`os._exit`).

A group of questions shares one transaction, each in a savepoint of its own: a question that fails
loses its savepoint. An error that loses the transaction loses the whole group. After a
failed fsync nothing is known about the disk any more, and StoreBroken ends the process; the next
start reads what really is there. Checkpoints are ours rather than SQLite's automatic ones because
those hide their errors.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import quote

import attrs
import outcome

from service.core.errors import StoreBroken, StoreRefused, StoreUnavailable

APPLICATION_ID: Final = 0x63776273
"""Says that a SQLite file is ours (``PRAGMA application_id``)."""

MEMORY: Final = ":memory:"

CHECKPOINT_EVERY_GROUPS: Final = 256
LOG_BYTES_MAX: Final = 64 * 2**20
"""A log that is larger is written back at once, for its room may be wanted."""

LOG_KEPT_BYTES: Final = LOG_BYTES_MAX // 2
"""What a log is cut to when it is used again from the start."""

CHECK_SECONDS: Final = 0.3
"""How long the look for damage at start may take; a large file is not checked to its end."""

_LOCK_WAIT_SECONDS: Final = 2.0
_HEADER_BYTES: Final = 100
_BROKEN: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    }
)
_LOSES_THE_GROUP: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
    }
)

T = TypeVar("T")


@attrs.define(eq=False)
class Database:
    """The one connection to the store; used by one thread at a time."""

    connection: sqlite3.Connection
    _log: Path | None
    _groups_since_checkpoint: int = 0

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Open the database at `path`, or a new one in memory; create and migrate as needed.

        Raises StoreRefused, having changed nothing, when the file cannot be ours.
        """
        if path is None:
            connection = _connect(f"file:{MEMORY}")
            _prepare_new(connection)
        else:
            path = _real(path)  # the log lies beside the file, not beside a link to it
            if not _exists(path):
                _create(path)
            _refuse_foreign(path)
            connection = _connect(f"file:{quote(str(path.absolute()))}?mode=rw")
            _own(connection, path)
        _migrate(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")  # a restored backup may have another
        if path is not None:
            _sync_log_entry(path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        return cls(connection, None if path is None else _log_of(path))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction open; when the block has ended, it is on disk.

        Raises StoreUnavailable when the transaction was lost, StoreBroken when the disk can no
        longer be trusted; any other error of the block rolls it back.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise _classified(error) from error
        self._groups_since_checkpoint += 1

    def _roll_back(self) -> None:
        try:
            if self.connection.in_transaction:  # SQLite may have rolled back itself
                self.connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreBroken(f"a transaction cannot be rolled back: {error}") from error

    def within_savepoint(self, work: Callable[[], T]) -> outcome.Outcome[T]:
        """Do a part of the open transaction that may fail alone.

        Returns what the work returned or raised. Raises when its error lost the transaction.
        """
        self.connection.execute("SAVEPOINT question")
        verdict = outcome.capture(work)
        if isinstance(verdict, outcome.Error):
            if isinstance(verdict.error, sqlite3.Error) and _loses_the_group(verdict.error):
                raise verdict.error
            if not self.connection.in_transaction:  # the next statement would stand alone
                raise StoreUnavailable("the transaction was lost") from verdict.error
            self.connection.execute("ROLLBACK TO question")
        self.connection.execute("RELEASE question")
        return verdict

    def checkpoint_is_due(self) -> bool:
        """Tell whether the log has grown enough to be written back."""
        return self._groups_since_checkpoint >= CHECKPOINT_EVERY_GROUPS or (
            self._log is not None and _size(self._log) > LOG_BYTES_MAX
        )

    def checkpoint(self) -> None:
        """Write the log back into the database; its file is used again from the start.

        Raises StoreUnavailable or StoreBroken; what was committed stays in the log.
        """
        self._groups_since_checkpoint = 0  # also when it fails: not again with every group
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise _classified(error) from error

    def close(self) -> None:
        """Close the file, writing the log back if it can be; nothing committed depends on it."""
        self.connection.close()


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, timeout=_LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
    )


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # which of them a loop of links is, Python varies
        raise StoreRefused(f"{path}: cannot be looked at: {error}") from error


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
            _sync_folder(folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreRefused(f"{path}: cannot be created: {error}") from error


def _tear_down(building: Path) -> None:
    for suffix in ("", "-journal", "-wal"):
        building.with_name(building.name + suffix).unlink(missing_ok=True)


def _build(path: Path) -> None:
    connection = _connect(f"file:{quote(str(path.absolute()))}?mode=rwc")
    try:
        _prepare_new(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _sync_log_entry(path: Path) -> None:
    """Sync the folder in which the log was made: SQLite does, but overlooks that it failed."""
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreRefused(f"{path}: its folder cannot be synced: {error.strerror}") from error


def _refuse_closed_folder(path: Path) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StoreRefused(f"{path}: its folder is not writable; its log has to lie beside it")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prepare_new(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first table
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    for version, script in _migrations():
        _apply(connection, version, script)


def _refuse_foreign(path: Path) -> None:
    """Read the file's header (https://sqlite.org/fileformat.html) and refuse what is not ours."""
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
    _refuse_newer(path, int.from_bytes(header[60:64], "big"))
    page_bytes = int.from_bytes(header[16:18], "big")
    expected = int.from_bytes(header[28:32], "big") * (65536 if page_bytes == 1 else page_bytes)
    if size < expected and not _size(_log_of(path)):
        raise StoreRefused(f"{path}: is cut short, {size} of {expected} bytes; restore a backup")


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _refuse_newer(path: Path | None, version: int) -> None:
    newest = _migrations()[-1][0]
    if version > newest:
        raise StoreRefused(
            f"{path}: has schema version {version}, this service knows up to {newest}; "
            "run the newer service"
        )


def _own(connection: sqlite3.Connection, path: Path) -> None:
    """Take the exclusive lock, then look for damage as far as a short look reaches."""
    log = _log_of(path)
    had_log = log.exists()
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        faults = _quick_check(connection)
    except sqlite3.Error as error:
        if _primary(error) == sqlite3.SQLITE_BUSY:
            raise StoreRefused(f"{path}: is in use by another process") from error
        if not _is_broken(error):
            raise StoreRefused(f"{path}: {error}") from error
        faults = str(error)
    if faults:
        if not had_log:
            log.unlink(missing_ok=True)  # SQLite made it, empty, when it took the lock
        raise StoreRefused(f"{path}: is damaged: {faults}; restore a backup")


def _quick_check(connection: sqlite3.Connection) -> str | None:
    """Return the first fault that SQLite finds in the time it has, or None."""
    end = threading.Timer(CHECK_SECONDS, connection.interrupt)
    end.start()
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if _primary(error) == sqlite3.SQLITE_INTERRUPT:
            return None
        raise
    finally:
        end.cancel()
        end.join()
    return None if found == "ok" else " ".join(str(found).split())


def _migrate(connection: sqlite3.Connection, path: Path | None) -> None:
    """Bring the schema to the newest version, one transaction a version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _refuse_newer(path, version)
    missing = [step for step in _migrations() if step[0] > version]
    try:
        for target, script in missing:
            _apply(connection, target, script)
        if missing:  # so that the header tells the version even after a kill
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise StoreRefused(f"{path}: cannot be migrated: {error}") from error


def _apply(connection: sqlite3.Connection, version: int, script: str) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {version};\nCOMMIT;"
    )


@cache
def _migrations() -> tuple[tuple[int, str], ...]:
    """Return the schema's versions in order, each with its script."""
    folder = resources.files("service.storage") / "migrations"
    scripts = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return tuple(
        (int(name.split("_", 1)[0]), scripts[name].read_text(encoding="utf-8"))
        for name in sorted(scripts)
    )


def _primary(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 when the error is Python's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _loses_the_group(error: sqlite3.Error) -> bool:
    return _primary(error) in _LOSES_THE_GROUP or _is_broken(error)


def _is_broken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) in _BROKEN or _primary(error) in _BROKEN


def _classified(error: sqlite3.Error) -> StoreUnavailable | StoreBroken:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if _is_broken(error):
        return StoreBroken(f"{error} ({name})")
    return StoreUnavailable(f"{error} ({name})")
