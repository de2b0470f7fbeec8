"""The control socket's language: one question a line, one verdict a line, both JSON."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, cast

import attrs
from cattrs import Converter

from service.core.run import Run
from service.core.tick import TickRecord
from service.core.wire import Json, decode, encode
from service.messages import (
    BackedUp,
    BackUp,
    Cancelled,
    CancelRun,
    CronDefinition,
    FindRuns,
    GetRun,
    Headway,
    LastTick,
    ListCronDefinitions,
    Listed,
    ListPausedJobs,
    ListRuns,
    ListTasks,
    News,
    Order,
    Outcomes,
    Overview,
    PauseJobs,
    Prune,
    Pruned,
    Question,
    ReadHeadway,
    ReadLastTicks,
    ReadNews,
    ReadOutcomes,
    ReadOverview,
    ReadStanding,
    ReadStory,
    ReadTicks,
    ResumeJobs,
    RetryRun,
    Standing,
    Story,
    TriggerRun,
)

__all__ = [
    "Progress",
    "Refusal",
    "read_progress",
    "read_question",
    "read_verdict",
    "write_progress",
    "write_question",
    "write_refusal",
    "write_verdict",
]

V = TypeVar("V")

_VERDICTS: Final[Mapping[type[Question[object] | Order[object]], object]] = {
    ListRuns: Listed,
    GetRun: Run | None,
    ListCronDefinitions: tuple[CronDefinition, ...],
    ReadTicks: tuple[TickRecord, ...],
    ReadLastTicks: dict[str, LastTick],
    FindRuns: tuple[str, ...],
    ReadStanding: Standing | None,
    CancelRun: Cancelled | None,
    ListTasks: tuple[str, ...],
    ReadHeadway: Headway | None,
    PauseJobs: bool,
    ResumeJobs: bool,
    ListPausedJobs: tuple[str | None, ...],
    ReadOverview: Overview,
    ReadOutcomes: Outcomes,
    ReadNews: News,
    ReadStory: Story,
    Prune: Pruned,
    BackUp: BackedUp,
    TriggerRun: str,
    RetryRun: str,
}
"""What may be asked through the socket, and the shape of the verdicts."""

_NAMES: Final = {kind.__name__: kind for kind in _VERDICTS}

_CONVERTER: Final = Converter()
_CONVERTER.register_unstructure_hook(datetime, datetime.isoformat)
_CONVERTER.register_unstructure_hook(Path, str)
_CONVERTER.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))


@attrs.frozen
class Progress:
    """How far something is that takes long: `done` of `total`."""

    doing: str
    done: int
    total: int


class Refusal(Exception):
    """The service refused the question, and said why."""


def write_question(question: Question[object] | Order[object]) -> bytes:
    """Return a question as a line."""
    return _line({"ask": type(question).__name__, "with": _CONVERTER.unstructure(question)})


def read_question(line: bytes) -> Question[object] | Order[object]:
    """Return the question of a line. Raises ValueError if it is none, or may not be asked here."""
    message = decode(line)
    name = message.get("ask") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(name, str) or name not in _NAMES:
        raise ValueError(f"not a question; expected one of {', '.join(_NAMES)}")
    kind = _NAMES[name]
    try:
        return _CONVERTER.structure(message.get("with"), kind)
    except Exception as error:  # cattrs raises whatever a value's hook raises
        raise ValueError(f"{kind.__name__}: {error}") from error


def write_verdict(verdict: object) -> bytes:
    """Return a verdict as a line."""
    return _line({"verdict": _CONVERTER.unstructure(verdict)})


def write_progress(progress: Progress) -> bytes:
    """Return a line that precedes a verdict for which there is long to wait."""
    return _line({"progress": _CONVERTER.unstructure(progress)})


def write_refusal(message: str) -> bytes:
    """Return the line that answers a question which has no verdict."""
    return _line({"refusal": message})


def read_progress(line: bytes) -> Progress | None:
    """Return the progress that a line tells, None if it is the last line. Raises ValueError."""
    if not line.startswith(b'{"progress"'):  # a verdict may be large: it is parsed once
        return None
    message = decode(line)
    told = message.get("progress") if isinstance(message, dict) else None
    return _CONVERTER.structure(told, Progress)


def read_verdict(question: Question[V] | Order[V], line: bytes) -> V:
    """Return the verdict on `question` from a line.

    Raises Refusal if it is one, ValueError if it is neither.
    """
    if not line:
        raise ValueError("it hung up")
    match decode(line):
        case {"verdict": verdict}:
            return _CONVERTER.structure(verdict, cast("type[V]", _VERDICTS[type(question)]))
        case {"refusal": str(reason)}:
            raise Refusal(reason)
        case _:
            raise ValueError("what it said is no verdict")


def _line(message: dict[str, Json]) -> bytes:
    return encode(message).encode() + b"\n"
