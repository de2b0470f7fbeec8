"""How a command asks: the running service, or else the file itself."""

import os
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Final, TypeVar

import attrs

from service.core.run import Run
from service.messages import Listed, ListRuns, Order, Question, RunFilter
from service.protocol import Progress, read_progress, read_verdict, write_question
from service.settings import Settings
from service.storage.database import Database
from service.storage.queries import answer

__all__ = ["NoService", "Unreachable", "ask", "ask_service", "list_runs", "open_file"]

ANSWER_SECONDS: Final = 30.0

V = TypeVar("V")


class Unreachable(Exception):
    """Neither the service nor its file could be asked; the message says what to do."""


class NoService(Unreachable):
    """No service runs."""


def ask(settings: Settings, question: Question[V]) -> V:
    """Ask the running service; if there is none, open its database.

    Raises Unreachable; Refusal, which says why; StoreRefused when the file cannot be ours, is
    in use, or is of an older schema, which only the service upgrades.
    """
    try:
        return ask_service(settings, question)
    except NoService:
        with closing(open_file(settings)) as database, database.transaction() as db:
            return answer(question, db, datetime.now(UTC))  # type: ignore[return-value] # its V


def list_runs(wanted: RunFilter, asked: Callable[[ListRuns], Listed]) -> list[Run]:
    """Ask for the runs that match until there are as many as wanted, or no more."""
    listed = asked(ListRuns(wanted))
    found = list(listed.runs)
    while listed.before is not None:
        rest = attrs.evolve(wanted, limit=wanted.limit - len(found))
        listed = asked(ListRuns(rest, listed.before))
        found += listed.runs
    return found


def ask_service(
    settings: Settings,
    question: Question[V] | Order[V],
    hear: Callable[[Progress], None] | None = None,
) -> V:
    """Ask the running service and nobody else; with `hear`, it may take as long as it takes.

    Raises NoService, Unreachable, or Refusal, which says why.
    """
    path = settings.control_socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS if hear is None else None)
            connection.connect(os.fspath(path))
            connection.sendall(write_question(question))
            with connection.makefile("rb") as lines:
                line = lines.readline()
                while hear is not None and (progress := read_progress(line)) is not None:
                    hear(progress)
                    line = lines.readline()
                return read_verdict(question, line)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoService(
            f"no service answers on {path}, and this takes one that runs; "
            "start it with `service run`"
        ) from None
    except (OSError, ValueError) as error:
        raise Unreachable(f"the service did not answer on {path}: {error}") from error


def open_file(settings: Settings) -> Database:
    """Open the database of a service that does not run, to be closed.

    Raises Unreachable, or StoreRefused when the file cannot be ours, is in use, or is of an
    older schema, which only the service upgrades.
    """
    path = settings.store_file
    if path is not None and path.exists():
        return Database.open_as_it_is(path)
    missing = (
        "a store in memory lives only in the running service"
        if path is None
        else f"there is no store at {path}"
    )
    raise Unreachable(
        f"no service answers on {settings.control_socket}, and {missing}; "
        "start one with `service run`"
    )
