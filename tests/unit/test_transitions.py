"""The table of a run's states and the SQL that moves runs are the same."""

import ast
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from service.core.run import CRASHES_MAX, TRANSITIONS, Event, Status
from service.messages import CancelRun, Finish, Question, Recover, Release, Retry, Suspend
from service.storage import queries
from service.storage.database import Database
from service.storage.queries.rows import micros
from tests.facts import NOON

QUERIES: Final = sorted(Path(str(queries.__file__)).parent.glob("*.py"))

Happening = Callable[[sqlite3.Connection], object]


def asks(question: Question[object]) -> Happening:
    return lambda db: queries.answer(question, db, NOON)


HAPPENINGS: Final[dict[Event, Happening]] = {
    Event.CLAIMED: lambda db: queries.Queue({}).claim(db, NOON, 10),
    Event.SUCCEEDED: asks(Finish("run", 1, Status.OK, "{}")),
    Event.FAILED: asks(Finish("run", 1, Status.ERROR, "{}")),
    Event.RETRIED: asks(Retry("run", 1, NOON, "{}")),
    Event.INTERRUPTED: asks(Release("run", 1)),
    Event.SUSPENDED: asks(Suspend("run", 1, NOON)),
    Event.CRASHED: asks(Recover(10)),
    Event.POISONED: asks(Recover(10)),
    Event.CANCELLED: asks(CancelRun("run")),
}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    database = Database.open(None)
    yield database.connection
    database.close()


def insert(db: sqlite3.Connection, status: Status, *, crashes: int) -> None:
    finished_at = None if status in {Status.QUEUED, Status.RUNNING} else micros(NOON)
    db.execute(
        """
        INSERT INTO runs (seq, id, job_id, status, "trigger", attempt, max_attempts, claim,
                          crashes, created_at, due_at, started_at, finished_at)
        VALUES (1, 'run', 'echo', ?, 'manual', 1, 4, 1, ?, ?, ?, ?, ?)
        """,
        (status, crashes, *[micros(NOON)] * 3, finished_at),
    )
    db.execute("INSERT INTO payloads VALUES (1, 'null')")


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("status", Status)
def test_sql_does_what_the_table_says(db: sqlite3.Connection, status: Status, event: Event) -> None:
    """Each event moves a run as the table says, and does nothing where the table is silent."""
    insert(db, status, crashes=CRASHES_MAX - 1 if event is Event.POISONED else 0)
    before = db.execute("SELECT * FROM runs").fetchall()
    HAPPENINGS[event](db)
    after = db.execute("SELECT * FROM runs").fetchall()
    expected = TRANSITIONS.get((status, event))
    assert (before == after) is (expected is None)
    (stands,) = db.execute("SELECT status FROM runs").fetchone()
    assert stands == (expected or status)


@pytest.mark.parametrize("event", Event)
def test_late_word_of_an_earlier_claim_changes_nothing(
    db: sqlite3.Connection, event: Event
) -> None:
    """A runner speaks for its own claim: when the run was taken again, it is not heard."""
    if event in {Event.CLAIMED, Event.CRASHED, Event.POISONED, Event.CANCELLED}:
        return  # not a runner's word
    insert(db, Status.RUNNING, crashes=0)
    db.execute("UPDATE runs SET claim = 2")
    assert HAPPENINGS[event](db) is False
    assert db.execute("SELECT status FROM runs").fetchone() == (Status.RUNNING,)


def test_every_change_of_state_names_the_state_that_it_leaves() -> None:
    """No statement moves a run without looking where it stands."""
    found = 0
    for path in QUERIES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                statement = " ".join(node.value.split())
                if re.match(r"UPDATE runs SET .*\bstatus = ", statement.partition(" WHERE ")[0]):
                    found += 1
                    assert re.search(r"\bstatus (=|IN) ", statement.partition(" WHERE ")[2])
    assert found >= len(Event) - 1
