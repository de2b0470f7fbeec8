"""What SQLite's errors mean to the store: who loses what, and whether the disk can be trusted."""

import sqlite3
from typing import Final

from service.core.errors import StoreBroken, StoreUnavailable

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


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 when the error is Python's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def loses_the_group(error: sqlite3.Error) -> bool:
    """Tell whether the error took the whole transaction, or may have."""
    return primary_code(error) in _LOSES_THE_GROUP or is_broken(error)


def is_broken(error: sqlite3.Error) -> bool:
    """Tell whether the error says that what is on disk can no longer be trusted."""
    return getattr(error, "sqlite_errorcode", 0) in _BROKEN or primary_code(error) in _BROKEN


def classified(error: sqlite3.Error) -> StoreUnavailable | StoreBroken:
    """Return the error as the store's askers know it."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if is_broken(error):
        return StoreBroken(f"{error} ({name})")
    return StoreUnavailable(f"{error} ({name})")
