"""An online copy of the database: a few pages at a time, checked, and put in its place whole.

Theory of operation
-------------------
One connection owns the file, so the copy is made through it, with SQLite's backup
(https://sqlite.org/backup.html): what the same connection writes meanwhile goes into the copy too,
so that the copy is the database as it is when the last page is copied; a group that is rolled back
begins it anew. Python's `Connection.backup` returns only at the end, and webhooks cannot wait for
that. So it has a thread of its own, which stops after each step, until it is told to go on. Whoever
tells it waits for the step: at any instant one thread at most uses the connection.

A copy is built beside its final name, checked from end to end, synced and renamed: a file under
that name is a whole backup, the old one or the new one. Opening and closing the file that we own
would drop our lock on it (https://sqlite.org/howtocorrupt.html, 2.2): it is told from others by
its inode.
"""

import contextlib
import os
import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import attrs

from service.core.errors import BackupFailed
from service.messages import BackedUp, Copied, CopyPages, GiveUpCopy, Question
from service.storage.database import Database
from service.storage.opening import APPLICATION_ID, log_of, sync_folder

__all__ = [
    "COPYING",
    "Check",
    "Copier",
    "back_up_at_rest",
    "building_name",
    "demand_target",
    "publish",
    "remove_building",
]

STEP_PAGES: Final = 256
"""Pages of a step: about a millisecond, for which the store's other askers wait."""

COPYING: Final = (CopyPages, GiveUpCopy)
"""The questions that a `Copier` answers."""


class _GivenUp(Exception):
    """Nobody wants the copy any more."""


@attrs.define(eq=False)
class _Copy:
    """A copy under way, and the thread in which it goes on when it is told to."""

    target: Path
    _source: sqlite3.Connection
    _copied: Copied = attrs.field(factory=partial(Copied, 0, 0))
    _error: Exception | None = None
    _given_up: bool = False
    _go_on: threading.Semaphore = attrs.field(factory=partial(threading.Semaphore, 0))
    _stopped: threading.Semaphore = attrs.field(factory=partial(threading.Semaphore, 0))
    _thread: threading.Thread | None = None

    def step(self) -> Copied:
        """Copy some pages. Raises what went wrong."""
        self._let_it_go_on()
        if self._error is not None:
            raise self._error
        return self._copied

    def give_up(self) -> None:
        """End the copy where it is."""
        self._given_up = True
        if self._thread is not None and self._thread.is_alive():
            self._let_it_go_on()
            self._thread.join()

    def _let_it_go_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._copy, name="backup", daemon=True)
            self._thread.start()
        else:
            self._go_on.release()
        self._stopped.acquire()

    def _copy(self) -> None:
        try:
            self._copy_whole()
        except Exception as error:  # noqa: BLE001 - whoever waits for the step is to raise it
            self._error = error
        finally:
            self._stopped.release()

    def _copy_whole(self) -> None:
        self.target.unlink(missing_ok=True)  # a service that died left it
        os.close(os.open(self.target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        target = sqlite3.connect(self.target, isolation_level=None, check_same_thread=False)
        try:
            target.execute("PRAGMA journal_mode = OFF")  # a copy that fails is thrown away,
            target.execute("PRAGMA synchronous = OFF")  # and one that succeeds synced at the end
            self._source.backup(target, pages=STEP_PAGES, progress=self._pause, sleep=0)
        finally:
            target.close()
        self._copied = attrs.evolve(self._copied, done=True)

    def _pause(self, status: int, remaining: int, pages: int) -> None:
        self._copied = Copied(pages - remaining, pages)
        if status == sqlite3.SQLITE_DONE:
            return
        self._stopped.release()
        self._go_on.acquire()
        if self._given_up:
            raise _GivenUp


@attrs.define(eq=False)
class Copier:
    """Copies a database, one copy at a time; used by the thread that may use its connection."""

    _database: Database
    _copy: _Copy | None = None

    def serve(self, question: Question[object]) -> Copied | None:
        """Copy the next pages, or give the copy up. Raises BackupFailed, which says why."""
        match question:
            case CopyPages(target=target):
                return self.copy_pages(target)
            case GiveUpCopy(target=target) if self._copy is not None:
                if self._copy.target == target:
                    self.close()
        return None

    def copy_pages(self, target: Path) -> Copied:
        """Copy the next pages. Raises BackupFailed."""
        if self._copy is None:
            self._copy = _Copy(target, self._database.connection)
        if self._copy.target != target:
            raise BackupFailed("another backup is under way; wait for its end")
        try:
            copied = self._copy.step()
        except (OSError, sqlite3.Error) as error:
            self._copy = None
            raise BackupFailed(f"{target}: cannot be written: {error}") from error
        if copied.done:
            self._copy = None
        return copied

    def close(self) -> None:
        """Give up a copy that is under way."""
        if self._copy is not None:
            self._copy.give_up()
            self._copy = None


def back_up_at_rest(database: Database, store: Path, target: Path) -> BackedUp:
    """Put a copy of a database that nobody else uses at `target`. Raises BackupFailed."""
    demand_target(target, store)
    building = building_name(target)
    copier = Copier(database)
    try:
        while not copier.copy_pages(building).done:
            pass
        Check.of(building).demand_sound()
        return BackedUp(path=target, size_bytes=publish(building, target))
    finally:
        copier.close()
        remove_building(building)


def building_name(target: Path) -> Path:
    """Return where the copy for `target` is built."""
    return target.with_name(f"{target.name}.unfinished")


def remove_building(building: Path) -> None:
    """Remove a copy that was not finished, if there is one."""
    building.unlink(missing_ok=True)


def demand_target(target: Path, store: Path | None) -> None:
    """Raise BackupFailed unless a backup of `store` may be put at `target`."""
    if not target.parent.is_dir():
        raise BackupFailed(f"{target.parent}: there is no such folder")
    if target.exists():
        _demand_replaceable(target, store)
    if log_of(target).exists():  # also of a file that was removed: it would spoil the copy
        raise BackupFailed(f"{target}: is a database in use, for it has a log; name another file")


def _demand_replaceable(target: Path, store: Path | None) -> None:
    if store is not None and store.exists() and target.samefile(store):  # never opened: see above
        raise BackupFailed(f"{target}: is the database itself; name another file")
    if not target.is_file() or not _is_ours(target):
        raise BackupFailed(f"{target}: is there and is no backup of ours; name another file")


@attrs.frozen
class Check:
    """A look at every page of a copy, which can be broken off."""

    _connection: sqlite3.Connection

    @classmethod
    def of(cls, building: Path) -> Self:
        """Return the check of a copy; immutable, so that no log is made beside it."""
        uri = f"file:{quote(str(building.absolute()))}?immutable=1"
        return cls(sqlite3.connect(uri, uri=True, check_same_thread=False))

    def demand_sound(self) -> None:
        """Raise BackupFailed if the copy is damaged, or the check broken off."""
        try:
            rows = self._connection.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.Error as error:
            raise BackupFailed(f"the copy cannot be checked: {error}") from error
        finally:
            self._connection.close()
        faults = "; ".join(" ".join(str(row[0]).split()) for row in rows)
        if faults != "ok":
            raise BackupFailed(f"the copy is damaged, and so may be the database: {faults}")

    def break_off(self) -> None:
        """End the check, in whatever thread it goes on."""
        with contextlib.suppress(sqlite3.ProgrammingError):  # it has ended, and is closed
            self._connection.interrupt()


def publish(building: Path, target: Path) -> int:
    """Sync a copy and give it its name; return its size in bytes. Raises BackupFailed."""
    try:
        with building.open("rb+") as file:
            os.fsync(file.fileno())
        size = building.stat().st_size
        building.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise BackupFailed(f"{target}: {error}") from error
    return size


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(100)
    return int.from_bytes(header[68:72], "big") == APPLICATION_ID
