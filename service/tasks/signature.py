"""What a task's function takes, read from its signature."""

import inspect
from inspect import Parameter
from types import FunctionType, SimpleNamespace
from typing import Final, get_type_hints

import attrs

from service.tasks.context import Context
from service.tasks.payloads import check_payload_type

__all__ = ["Signature", "read_signature"]

_ACCEPTED: Final = "a task is a function of (ctx) or (ctx, payload)"
_POSITIONAL: Final = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}


@attrs.frozen
class Signature:
    """How a task's function is called."""

    is_async: bool
    takes_payload: bool
    payload_type: object


def read_signature(function: object) -> Signature:
    """Return how to call `function`; raises TypeError if it cannot be a task's."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"{_ACCEPTED}, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{_ACCEPTED} that returns; this one yields")
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.kind not in _POSITIONAL or parameter.default is not Parameter.empty:
            raise TypeError(f"{_ACCEPTED}; {parameter} is neither")
    if len(parameters) not in {1, 2}:
        raise TypeError(f"{_ACCEPTED}, and this one takes {len(parameters) or 'nothing'}")
    _check_context(function, parameters[0])
    return Signature(
        is_async=inspect.iscoroutinefunction(function),
        takes_payload=len(parameters) == 2,  # noqa: PLR2004 - the context and the payload
        payload_type=_payload_type(function, parameters[1]) if parameters[1:] else object,
    )


def _check_context(function: FunctionType, parameter: Parameter) -> None:
    try:
        kind = _resolved(function, parameter)
    except NameError:
        return  # imported for the type checker alone, which has checked it
    if kind not in {Context, object, Parameter.empty}:
        raise TypeError(f"{_ACCEPTED}; its first parameter is a Context, not {parameter}")


def _payload_type(function: FunctionType, parameter: Parameter) -> object:
    try:
        kind = _resolved(function, parameter)
        check_payload_type(kind)
    except (NameError, TypeError) as error:
        raise TypeError(f"its {parameter} cannot be read from JSON: {error}") from None
    return object if kind is Parameter.empty else kind


def _resolved(function: FunctionType, parameter: Parameter) -> object:
    """Evaluate one annotation; the others may be of no concern at run time, and unresolvable."""
    if parameter.annotation is Parameter.empty:
        return Parameter.empty
    holder = SimpleNamespace(__annotations__={"it": parameter.annotation})
    return get_type_hints(holder, inspect.unwrap(function).__globals__, include_extras=True)["it"]
