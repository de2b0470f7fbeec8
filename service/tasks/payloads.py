"""JSON into the type that a task declares, or an error that names what is wrong and where."""

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs
from cattrs import ClassValidationError, ForbiddenExtraKeysError
from cattrs.errors import StructureHandlerNotFoundError

from service.core.wire import Json
from service.tasks.strict import Misfit, cut, hook_for
from service.tasks.task import Task

__all__ = ["PayloadError", "check_payload_type", "structure"]

_FAULTS_MAX: Final = 5


class PayloadError(ValueError):
    """The payload is not of the task's type; the message names each fault by its path."""


def structure(task: Task, payload: Json) -> object:
    """Return `payload` as the type that the task declares; a task that takes none gets None.

    Raises PayloadError, such as ``payload.items[3].name: expected str, got int``. The message
    never holds a value of the payload, but for what the validators of the task's own classes say.
    """
    if not task.takes_payload:
        return None
    try:
        return hook_for(task.payload_type)(payload, task.payload_type)
    except (ClassValidationError, Misfit, RecursionError) as error:
        faults = islice(_faults(error, "payload"), _FAULTS_MAX)
        raise PayloadError("; ".join(faults)) from None


def check_payload_type(kind: object) -> None:
    """Raise TypeError, which names the part, if no payload could be structured as `kind`."""
    try:
        hook_for(kind)
    except (StructureHandlerNotFoundError, NameError) as error:
        raise TypeError(str(error)) from None


def _faults(error: BaseException, path: str) -> Iterator[str]:
    """Name every fault by its path; of a list or an object without a class, only the first."""
    match error:
        case Misfit(place=place) if place and error.__cause__ is not None:
            yield from _faults(error.__cause__, path + place)
        case ClassValidationError():
            located, others = error.group_exceptions()
            for fault, note in located:
                yield from _faults(fault, f"{path}.{note.name}")
            for fault in others:
                yield from _faults(fault, path)
        case ForbiddenExtraKeysError():
            known = ", ".join(_field_names(error.cl)) or "no fields"
            for name in sorted(error.extra_fields):
                yield f"{path}.{cut(name)}: unknown, expected only {known}"
        case KeyError():
            yield f"{path}: missing"
        case RecursionError():
            yield f"{cut(path)}: nested too deeply"
        case _:  # a misfit, or what a validator of the class says
            yield f"{path}: {error.args[0] if error.args else type(error).__name__}"


def _field_names(kind: type) -> list[str]:
    fields = attrs.fields(kind) if attrs.has(kind) else dataclasses.fields(kind)
    return [field.name for field in fields if field.init]
