"""The copy of a database, page by page, and what is made of it in the end."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from service.core.errors import BackupFailed
from service.messages import CopyPages, GiveUpCopy
from service.storage import queries
from service.storage.backup import (
    Check,
    Copier,
    back_up_at_rest,
    building_name,
    demand_target,
    publish,
)
from service.storage.database import Database
from service.vault import Vault
from tests.stores import START, Clock, enqueue, store_behind_door


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path / "runs.sqlite3")
    fill(opened, 2_000)
    yield opened
    opened.close()


def fill(database: Database, runs: int) -> None:
    with database.transaction() as db:
        for _ in range(runs):
            queries.answer(enqueue("a" * 1_000), db, START)


def count(path: Path) -> int:
    """Count the runs in a backup, as a service that was started on it would find them."""
    opened = Database.open(path)
    with opened.transaction() as db:
        (found,) = db.execute("SELECT count(*) FROM runs").fetchone()
    opened.close()
    return int(found)


def test_what_is_written_meanwhile_is_in_the_copy(database: Database, tmp_path: Path) -> None:
    """Between any two steps groups commit and the log is written back; the copy has it all."""
    copier, building, steps = Copier(database), tmp_path / "building", 0
    while not copier.copy_pages(building).done:
        fill(database, 50)
        database.checkpoint()
        steps += 1
    assert steps > 5
    publish(building, tmp_path / "kept")
    assert count(tmp_path / "kept") == 2_000 + 50 * steps


def test_what_is_rolled_back_meanwhile_is_not(database: Database, tmp_path: Path) -> None:
    """A group that failed is in the copy as little as it is in the database."""
    copier, building = Copier(database), tmp_path / "building"
    for _ in range(3):
        assert not copier.copy_pages(building).done
        with pytest.raises(ZeroDivisionError):
            fail_after_writing(database)
    while not copier.copy_pages(building).done:
        pass
    publish(building, tmp_path / "kept")
    assert count(tmp_path / "kept") == 2_000


def fail_after_writing(database: Database) -> None:
    with database.transaction() as db:
        queries.answer(enqueue("b" * 100_000), db, START)
        raise ZeroDivisionError


def test_a_copy_that_is_given_up_lets_the_next_begin(database: Database, tmp_path: Path) -> None:
    """One copy at a time; the thread of one that is not wanted ends."""
    copier, first, second = Copier(database), tmp_path / "first", tmp_path / "second"
    assert not copier.copy_pages(first).done
    with pytest.raises(BackupFailed, match="another backup is under way"):
        copier.serve(CopyPages(second))
    copier.serve(GiveUpCopy(second))
    with pytest.raises(BackupFailed, match="another backup is under way"):
        copier.serve(CopyPages(second))
    copier.serve(GiveUpCopy(first))
    assert not copier.copy_pages(second).done
    copier.close()
    fill(database, 1)


def test_a_copy_that_cannot_be_written_says_so(database: Database, tmp_path: Path) -> None:
    """The store goes on as if nothing had been asked."""
    copier = Copier(database)
    with pytest.raises(BackupFailed, match="nowhere/building: cannot be written"):
        copier.copy_pages(tmp_path / "nowhere" / "building")
    fill(database, 1)
    assert back_up_at_rest(database, tmp_path / "runs.sqlite3", tmp_path / "kept").size_bytes


def test_a_damaged_copy_is_not_published(database: Database, tmp_path: Path) -> None:
    """The check reads every page; the backup that was there stays."""
    target = tmp_path / "kept"
    back_up_at_rest(database, tmp_path / "runs.sqlite3", target)
    whole = target.read_bytes()
    building = building_name(target)
    building.write_bytes(whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :])
    with pytest.raises(BackupFailed, match="damaged"):
        Check.of(building).demand_sound()
    building.write_bytes(whole[:4096])
    with pytest.raises(BackupFailed, match=r"damaged|cannot be checked"):
        Check.of(building).demand_sound()
    assert target.read_bytes() == whole


def test_a_database_in_use_is_no_target(database: Database, tmp_path: Path) -> None:
    """Not even another service's."""
    with pytest.raises(BackupFailed, match="is a database in use"):
        demand_target(tmp_path / "runs.sqlite3", tmp_path / "other.sqlite3")


async def test_a_backup_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    """Nor does it keep the store from ending, or the next backup from being made."""
    folder = tmp_path / "backups"
    folder.mkdir()
    async with store_behind_door(tmp_path / "runs.sqlite3", now=Clock(timedelta())) as door:
        for _ in range(300):
            await door.ask(enqueue("a" * 20_000))
        vault = Vault(door, tmp_path / "runs.sqlite3")

        async def leave(*_: object) -> None:
            scope.cancel()
            await trio.sleep_forever()

        async def hear(*_: object) -> None:
            await trio.lowlevel.checkpoint()

        with trio.CancelScope() as scope:
            await vault.back_up(folder / "kept", leave)
        assert scope.cancelled_caught
        assert list(folder.iterdir()) == []
        made = await vault.back_up(folder / "kept", hear)
    assert [path.name for path in folder.iterdir()] == ["kept"]
    assert count(made.path) == 300
