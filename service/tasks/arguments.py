"""What a task may pass to its context: anything else is refused in words, before it does harm.

A type checker says most of this first; not every author asks one. What a step is given wrongly is
Permanent, because the next attempt would give the same.
"""

import inspect
from collections.abc import Sequence
from os import PathLike
from typing import Final, TypeGuard

from service.core.results import Permanent

__all__ = [
    "check_command",
    "check_headway",
    "check_name",
    "check_request",
    "check_seconds",
    "check_step",
]

NAME_MAX: Final = 128
RETRIES_MAX: Final = 100
"""Of a step, and of a request."""

SLEEP_MAX_SECONDS: Final = 366 * 86_400.0
HEADWAY_MAX: Final = 1e15

_CALL: Final = 'ctx.step("fetch", fetch, …)'
_NO_SECONDS: Final = "is not a number of seconds above 0"
_NO_COUNT: Final = f"is not a whole number from 0 to {RETRIES_MAX}"


def check_name(name: object) -> None:
    """Raise Permanent for what cannot name a step."""
    if not isinstance(name, str):
        raise Permanent(f"a step begins with its name, as in {_CALL}, and not with {_shown(name)}")
    if not (name.isprintable() and 0 < len(name) <= NAME_MAX):
        raise Permanent(
            f"step {_shown(name)}: a name is a text of 1 to {NAME_MAX} printable characters"
        )


def check_step(
    name: object, function: object, *, timeout: object, retries: object, retry_on: object
) -> None:
    """Raise Permanent for what cannot be a step: it names what was given, and what may be."""
    check_name(name)
    fault = None
    if inspect.iscoroutine(function):
        function.close()
        called = function.__name__
        fault = f"takes a function and its arguments, {called}, …, and was given {called}(…)"
    elif not callable(function):
        fault = f"takes a function and its arguments, and was given {_shown(function)}"
    elif timeout is not None and not (_is_number(timeout) and timeout > 0):
        fault = f"timeout: {_shown(timeout)} {_NO_SECONDS}"
    elif not _is_count(retries):
        fault = f"retries: {_shown(retries)} {_NO_COUNT}"
    elif not _tells_what_to_retry(retry_on):
        fault = f"retry_on: {_shown(retry_on)} is no exception type, tuple of them, or function"
    if fault is not None:
        raise Permanent(f"step {name!r}: {fault}")


def check_seconds(seconds: object) -> None:
    """Raise ValueError for what nobody can sleep."""
    if not (_is_number(seconds) and 0 <= seconds <= SLEEP_MAX_SECONDS):
        raise ValueError(f"sleep: {_shown(seconds)} is not a number of seconds from 0 to a year")


def check_headway(done: object, total: object, note: object) -> None:
    """Raise ValueError or TypeError for what cannot be shown; more than all of it can be done."""
    for what, value in (("done", done), ("total", 0 if total is None else total)):
        if not (_is_number(value) and abs(value) <= HEADWAY_MAX):
            raise ValueError(
                f"progress: {what}: {_shown(value)} is not a number within {HEADWAY_MAX:g}"
            )
    if not (note is None or isinstance(note, str)):
        raise TypeError(f"progress: note: {_shown(note)} is not text")


def check_command(command: object, stdin: object, max_bytes: object) -> None:
    """Raise ValueError or TypeError for what no program can be started with."""
    if not isinstance(command, Sequence) or isinstance(command, str | bytes) or not command:
        raise ValueError(
            f"run_process: {_shown(command)} is not a list of a program and its arguments, "
            'such as ["git", "log"]; no shell takes it apart'
        )
    for index, argument in enumerate(command):
        if not isinstance(argument, str | bytes | PathLike):
            raise TypeError(f"run_process: command[{index}]: {_shown(argument)} is not text")
    if not isinstance(stdin, bytes):
        raise TypeError(f"run_process: stdin is {type(stdin).__name__}, not bytes")
    _check_bytes("run_process", max_bytes)


def check_request(timeout: object, retries: object, max_bytes: object) -> None:
    """Raise ValueError for what bounds no request."""
    if not (_is_number(timeout) and timeout > 0):
        raise ValueError(f"request: timeout: {_shown(timeout)} {_NO_SECONDS}")
    if not _is_count(retries):
        raise ValueError(f"request: retries: {_shown(retries)} {_NO_COUNT}")
    _check_bytes("request", max_bytes)


def _check_bytes(call: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(f"{call}: max_bytes: {_shown(value)} is not a number of bytes")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= RETRIES_MAX


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tells_what_to_retry(value: object) -> bool:
    if isinstance(value, type | tuple):
        kinds = value if isinstance(value, tuple) else (value,)
        return all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds)
    return callable(value)


def _shown(value: object) -> str:
    """Write a value short enough for a message; a long one is cut."""
    written = repr(value)
    return written if len(written) <= NAME_MAX else f"{written[:NAME_MAX]}…"
