"""The connection to the store, written in groups.

Theory of operation
-------------------
A group of questions shares one transaction, in which a question that fails loses a savepoint. An
error that loses the transaction loses the whole group. After a failed fsync nothing is known about
the disk any more, and StoreBroken ends the process; the next start reads what really is there.
Checkpoints are ours rather than SQLite's automatic ones because those hide their errors.

A file that is moved or removed stays open, and would take commits that no start finds again. So
each commit looks whether the file and its log are still there under their names.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self, TypeVar

import attrs
import outcome

from service.core.errors import StoreBroken, StoreUnavailable
from service.storage.faults import classified, loses_the_group
from service.storage.opening import log_of, open_as_it_is, open_connection, size_of

CHECKPOINT_EVERY_GROUPS: Final = 256
LOG_BYTES_MAX: Final = 64 * 2**20
"""A log that is larger is written back at once, for its room may be wanted."""

LOG_KEPT_BYTES: Final = LOG_BYTES_MAX // 2
"""What a log is cut to when it is used again from the start."""

T = TypeVar("T")


@attrs.define(eq=False)
class Database:
    """The one connection to the store; used by one thread at a time."""

    connection: sqlite3.Connection
    _log: Path | None
    _files: Mapping[Path, os.stat_result]
    """What is on disk, as it was when it was opened."""
    _groups_since_checkpoint: int = 0

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Open the database at `path`, or a new one in memory; create and migrate as needed.

        Raises StoreRefused, having changed nothing, when the file cannot be ours.
        """
        return cls._ready(open_connection(path), path)

    @classmethod
    def open_as_it_is(cls, path: Path) -> Self:
        """Open the database at `path`, which is neither created nor migrated.

        Raises StoreRefused, having changed nothing, when the file cannot be ours; StoreOutdated
        when its schema is older than ours.
        """
        return cls._ready(open_as_it_is(path), path)

    @classmethod
    def _ready(cls, connection: sqlite3.Connection, path: Path | None) -> Self:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
        if path is None:
            return cls(connection, None, {})
        log = log_of(path)
        return cls(connection, log, {file: file.stat() for file in (path.resolve(), log)})

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
                self._demand_files()
                self.connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise classified(error) from error
        self._groups_since_checkpoint += 1

    def _demand_files(self) -> None:
        for file, opened in self._files.items():
            try:
                there = os.path.samestat(file.stat(), opened)
            except FileNotFoundError:
                there = False
            except OSError as error:
                raise StoreUnavailable(f"{file.name} is out of reach: {error.strerror}") from error
            if not there:
                raise StoreUnavailable(
                    f"{file.name} was moved or removed: put it back, or save by `service backup` "
                    "what was in it before the service ends"
                )

    def _roll_back(self) -> None:
        try:
            if self.connection.in_transaction:  # SQLite may have rolled back itself
                self.connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StoreBroken(f"a transaction cannot be rolled back: {error}") from error

    def all_or_nothing(self, work: Callable[[], T]) -> outcome.Outcome[T]:
        """Do all there is to do in the open transaction; if that fails, it is as if just begun.

        Returns what the work returned or raised. Raises when its error lost the transaction.
        """
        verdict = outcome.capture(work)
        try:
            if isinstance(verdict, outcome.Error):
                self._demand_transaction(verdict.error)
                self._roll_back()
                self.connection.execute("BEGIN IMMEDIATE")
            return verdict
        finally:
            del verdict  # an error holds the frames that it passed, which must not hold it

    def within_savepoint(self, work: Callable[[], T]) -> outcome.Outcome[T]:
        """Do a part of the open transaction that may fail alone.

        Returns what the work returned or raised. Raises when its error lost the transaction.
        """
        self.connection.execute("SAVEPOINT question")
        verdict = outcome.capture(work)
        try:
            if isinstance(verdict, outcome.Error):
                self._demand_transaction(verdict.error)
                self.connection.execute("ROLLBACK TO question")
            self.connection.execute("RELEASE question")
            return verdict
        finally:
            del verdict  # as above

    def _demand_transaction(self, error: BaseException) -> None:
        """Raise if an error has lost the transaction: the next statement would stand alone."""
        try:
            if isinstance(error, sqlite3.Error) and loses_the_group(error):
                raise error
            if not self.connection.in_transaction:
                raise StoreUnavailable("the transaction was lost") from error
        finally:
            del error  # as above

    def checkpoint_is_due(self) -> bool:
        """Tell whether the log has grown enough to be written back."""
        return self._groups_since_checkpoint >= CHECKPOINT_EVERY_GROUPS or (
            self._log is not None and size_of(self._log) > LOG_BYTES_MAX
        )

    def checkpoint(self) -> None:
        """Write the log back into the database; its file is used again from the start.

        Raises StoreUnavailable or StoreBroken; what was committed stays in the log.
        """
        self._groups_since_checkpoint = 0  # also when it fails: not again with every group
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise classified(error) from error

    def close(self) -> None:
        """Close the file, writing the log back if it can be; nothing committed depends on it."""
        self.connection.close()
