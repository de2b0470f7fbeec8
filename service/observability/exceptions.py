"""An exception as data: types, messages and places, never the values of variables."""

from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Final

from service.core.errors import leaves
from service.core.results import Result
from service.core.run import Failure
from service.core.wire import Json

__all__ = ["describe", "flattened", "kind_of", "message_of", "name_of"]

OUTER_FRAMES: Final = 4
INNER_FRAMES: Final = 12
MEMBERS: Final = 8
DEPTH: Final = 6
MESSAGE_CHARACTERS: Final = 1024


def describe(error: BaseException, depth: int = DEPTH) -> dict[str, Json]:
    """Return type, message and stack of `error`, and of its cause and the members of its group.

    The stack has the outermost call first. What lies deeper than `depth` is left out, and so is
    what raises when it is looked at: a task can raise anything.
    """
    try:
        return _described(error, depth)
    except BaseException:  # noqa: ASYNC103, BLE001 - a foreign property may raise anything
        return {"type": name_of(error), "message": "cannot be shown"}  # noqa: ASYNC104 - as above


def _described(error: BaseException, depth: int) -> dict[str, Json]:
    story: dict[str, Json] = {"type": name_of(error), "message": message_of(error)}
    stack = _stack(error.__traceback__)
    if stack:
        story["stack"] = stack
    if depth > 1:
        if isinstance(error, BaseExceptionGroup):
            story["exceptions"] = [
                describe(member, depth - 1) for member in error.exceptions[:MEMBERS]
            ]
        if error.__cause__ is not None:
            story["cause"] = describe(error.__cause__, depth - 1)
        elif error.__context__ is not None and not error.__suppress_context__:
            story["context"] = describe(error.__context__, depth - 1)
    return story


def flattened(error: BaseException) -> BaseException:
    """Return what a nest of groups holds: its one error, or one group of all its errors.

    Every nursery that an error leaves wraps it once more; the one that matters lies deepest.
    """
    errors = list(leaves(error))
    return errors[0] if len(errors) == 1 else BaseExceptionGroup("several errors", errors)


def name_of(error: BaseException) -> str:
    """Return the full name of the exception's type; built-in ones have no module."""
    kind = type(error)
    try:
        module = kind.__module__
    except BaseException:  # noqa: ASYNC103, BLE001 - a foreign metaclass may raise anything
        return "an exception without a name"  # noqa: ASYNC104 - as above
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return what the exception says of itself, cut; what its own code raises is said instead."""
    try:
        return str(error)[:MESSAGE_CHARACTERS]
    except BaseException as fault:  # noqa: ASYNC103, BLE001 - a foreign __str__ may raise anything
        return f"<{type(fault).__name__} when shown>"  # noqa: ASYNC104 - as above


def kind_of(outcome: Failure | Result) -> str:
    """Return what sort of failure it is: an exception's type, `timeout`, `failure` or `verdict`.

    A group that holds one type of error, such as a nursery's, is of that type.
    """
    if isinstance(outcome, Result):
        return "verdict"
    if outcome.exception is not None:
        kinds = {name_of(each) for each in leaves(outcome.exception)}
        return kinds.pop() if len(kinds) == 1 else name_of(outcome.exception)
    return "timeout" if outcome.timed_out else "failure"


def _stack(trace: TracebackType | None) -> list[Json]:
    places = [(frame, line) for frame, line in walk_tb(trace)]
    if len(places) <= OUTER_FRAMES + INNER_FRAMES:
        return [_place(frame, line) for frame, line in places]
    skipped = len(places) - OUTER_FRAMES - INNER_FRAMES
    return [
        *(_place(frame, line) for frame, line in places[:OUTER_FRAMES]),
        f"... {skipped} more",
        *(_place(frame, line) for frame, line in places[-INNER_FRAMES:]),
    ]


def _place(frame: FrameType, line: int) -> str:
    module = frame.f_globals.get("__name__", "?")
    return f"{module}:{line} in {frame.f_code.co_qualname}"
