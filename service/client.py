"""How a command asks: the running service, or else the file itself."""

import os
import socket
from datetime import UTC, datetime
from typing import Final, TypeVar

from service.messages import Order, Question
from service.protocol import read_verdict, write_question
from service.settings import RunStore, Settings
from service.storage.database import Database
from service.storage.queries import answer

__all__ = ["Unreachable", "ask", "ask_service"]

ANSWER_SECONDS: Final = 30.0

V = TypeVar("V")


class Unreachable(Exception):
    """Neither the service nor its file could be asked; the message says what to do."""


def ask(settings: Settings, question: Question[V]) -> V:
    """Ask the running service; if there is none, open its database.

    Raises Unreachable; Refusal, which says why; StoreRefused when the file cannot be ours or is
    in use.
    """
    try:
        return _ask_service(settings, question)
    except (FileNotFoundError, ConnectionRefusedError):
        return _ask_file(settings, question)


def ask_service(settings: Settings, question: Question[V] | Order[V]) -> V:
    """Ask the running service and nobody else. Raises Unreachable, or Refusal, which says why."""
    try:
        return _ask_service(settings, question)
    except (FileNotFoundError, ConnectionRefusedError):
        raise Unreachable(
            f"no service answers on {settings.control_socket}, and this takes one that runs; "
            "start it with `service run`"
        ) from None


def _ask_service(settings: Settings, question: Question[V] | Order[V]) -> V:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(os.fspath(settings.control_socket))
            connection.sendall(write_question(question))
            with connection.makefile("rb") as lines:
                return read_verdict(question, lines.readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise
    except (OSError, ValueError) as error:
        path = settings.control_socket
        raise Unreachable(f"the service did not answer on {path}: {error}") from error


def _ask_file(settings: Settings, question: Question[V]) -> V:
    path = settings.run_store_sqlite_path
    if settings.run_store is RunStore.MEMORY or not path.exists():
        raise Unreachable(
            f"no service answers on {settings.control_socket}, and there is no store at {path}; "
            "start one with `service run`"
        )
    database = Database.open(path)
    try:
        with database.transaction() as db:
            return answer(question, db, datetime.now(UTC))  # type: ignore[return-value] # its V
    finally:
        database.close()
