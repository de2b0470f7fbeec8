"""Which types have a form in JSON, and what makes a value of them: strictly, or a `Misfit`.

cattrs builds the code for attrs classes and dataclasses. Every other kind is listed here, because
cattrs by itself would coerce (5 into "5", "false" into True, "abc" into a list of three). What is
not listed has no form in JSON, and says so before the first payload comes.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from functools import cache
from inspect import Parameter, isclass
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
from cattrs import ClassValidationError, Converter
from cattrs.dispatch import StructureHook
from cattrs.errors import StructureHandlerNotFoundError
from cattrs.gen import make_dict_structure_fn

from service.core.wire import Json

__all__ = ["Misfit", "cut", "hook_for"]

T = TypeVar("T")

_JSON: Final = get_type_hints(SimpleNamespace(__annotations__={"json": Json}), globals())["json"]
_UNTYPED: Final = (Any, object, Parameter.empty, _JSON, ForwardRef(str(Json)))
_NAMES: Final[dict[object, str]] = {dict: "object", NoneType: "null"}
_NAME_MAX: Final = 80
_DATETIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"  # RFC 3339, 5.6
_DATE: Final = r"\d{4}-\d\d-\d\d"


class Misfit(ValueError):
    """A value is not of its kind; a `place` leads to the part (the cause) that is to blame."""

    def __init__(self, fault: str, place: str = "") -> None:
        super().__init__(fault)
        self.place = place


class _NoChoice(Misfit):
    """A value is none of those that are listed."""


@cache
def hook_for(kind: object) -> StructureHook:
    """Return what structures a value as `kind`; it raises Misfit or ClassValidationError.

    Raises StructureHandlerNotFoundError for a kind that no JSON value can become.
    """
    hook = _plain(kind) or _generic(get_origin(kind) or kind, get_args(kind)) or _class(kind)
    if hook is None:
        raise StructureHandlerNotFoundError(f"{_name(kind)} has no form in JSON", type(kind))
    return hook


class _Strict(Converter):
    """Makes cattrs ask `hook_for` about the types of fields."""

    def get_structure_hook(
        self,
        type: object,  # noqa: A002 - cattrs' name for it
        cache_result: bool = True,  # noqa: ARG002, FBT001, FBT002 - cattrs' signature
    ) -> StructureHook:
        return hook_for(type)

    def structure(self, obj: object, cl: type[T]) -> T:
        kind: object = cl
        value: T = hook_for(kind)(obj, cl)
        return value


_CONVERTER: Final = _Strict(forbid_extra_keys=True)


def _plain(kind: object) -> StructureHook | None:
    if kind in _UNTYPED:
        return lambda value, _: value
    if isinstance(kind, NewType):
        return hook_for(kind.__supertype__)
    if get_origin(kind) is Annotated:
        return hook_for(get_args(kind)[0])
    return _SCALARS.get(kind)


def _generic(origin: object, args: tuple[object, ...]) -> StructureHook | None:
    if origin in {Union, UnionType}:
        return _union(args)
    if origin is Literal and not any(isinstance(arg, Enum) for arg in args):
        return _one_of([(arg, arg) for arg in args])
    if origin in {list, Sequence}:
        return _items(list, *args)
    if origin is tuple and (not args or args[1:] == (...,)):
        return _items(tuple, *args[:1])
    if origin in {dict, Mapping} and args[:1] in {(), (str,)}:
        return _entries(*args[1:])
    return None


def _class(kind: object) -> StructureHook | None:
    if not isclass(kind):
        return None
    if issubclass(kind, Enum):
        return _one_of([(member.value, member) for member in kind])
    if attrs.has(kind) or dataclasses.is_dataclass(kind):
        return _fields(kind)
    return None


def _exactly(kind: type) -> StructureHook:
    return lambda value, _: _demand(kind, value)


def _float(value: object, _: object) -> float:
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Misfit("expected float, got an int beyond its range") from None
    return _demand(float, value)


def _parsed(pattern: str, parse: Callable[[str], object], example: str) -> StructureHook:
    def hook(value: object, _: object) -> object:
        if isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII):
            try:
                return parse(value)
            except ValueError as error:
                raise Misfit(f"expected text such as {example}: {error}") from None
        got = "other text" if isinstance(value, str) else _name(type(value))
        raise Misfit(f"expected text such as {example}, got {got}")

    return hook


_SCALARS: Final[dict[object, StructureHook]] = {
    bool: _exactly(bool),
    int: _exactly(int),
    float: _float,
    str: _exactly(str),
    None: _exactly(NoneType),
    NoneType: _exactly(NoneType),
    datetime: _parsed(_DATETIME, datetime.fromisoformat, "2026-01-31T09:30:00Z"),
    date: _parsed(_DATE, date.fromisoformat, "2026-01-31"),
}


def _union(kinds: tuple[object, ...]) -> StructureHook:
    """Take the first member that fits; those that also take what a narrower one takes come last."""
    wide = (float, str, *_UNTYPED)
    hooks = [(kind, hook_for(kind)) for kind in sorted(kinds, key=lambda kind: kind in wide)]
    named = [kind for kind in kinds if kind is not NoneType]

    def hook(value: object, _: object) -> object:
        faults: list[ClassValidationError] = []
        for kind, member in hooks:
            try:
                return member(value, kind)
            except (ClassValidationError, Misfit) as error:
                if named == [kind] and value is not None:
                    raise  # of an optional value, what is wrong inside it says more
                if isinstance(error, ClassValidationError):
                    faults.append(error)
        if len(faults) > 1:
            faults = [fault for fault in faults if _is_meant(fault)]
        if len(faults) == 1:
            raise faults[0]  # so does what is wrong inside the class that is meant
        raise _expected(" or ".join(_name(kind) for kind in kinds), value)

    return hook


def _is_meant(fault: ClassValidationError) -> bool:
    """Return whether the literal fields fit, by which the classes of a union are told apart."""
    return not any(isinstance(each, _NoChoice) for each in fault.exceptions)


def _one_of(choices: list[tuple[object, object]]) -> StructureHook:
    def hook(value: object, _: object) -> object:
        for choice, result in choices:
            if type(choice) is type(value) and choice == value:
                return result
        raise _NoChoice("expected one of " + ", ".join(repr(choice) for choice, _ in choices))

    return hook


def _items(make: type[Sequence[object]], kind: object = object) -> StructureHook:
    inner = hook_for(kind)

    def hook(value: object, _: object) -> object:
        items = _demand(list, value)
        structured = [_part(inner, item, kind, f"[{at}]") for at, item in enumerate(items)]
        return tuple(structured) if make is tuple else structured

    return hook


def _entries(kind: object = object) -> StructureHook:
    inner = hook_for(kind)

    def hook(value: object, _: object) -> object:
        entries = _demand(dict, value)
        return {key: _part(inner, item, kind, f".{cut(key)}") for key, item in entries.items()}

    return hook


def _fields(kind: type) -> StructureHook:
    if attrs.has(kind):
        attrs.resolve_types(kind)
    inner: StructureHook = make_dict_structure_fn(kind, _CONVERTER)
    return lambda value, _: inner(_demand(dict, value), kind)


def _part(hook: StructureHook, value: object, kind: object, place: str) -> object:
    try:
        return hook(value, kind)
    except (ClassValidationError, Misfit) as error:
        raise Misfit("", place) from error


def _demand(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise _expected(_name(kind), value)
    return value


def _expected(expected: str, value: object) -> Misfit:
    return Misfit(f"expected {expected}, got {_name(type(value))}")


def _name(kind: object) -> str:
    """Return a kind's name for someone who thinks in JSON."""
    if kind in _NAMES:
        return _NAMES[kind]
    return kind.__name__ if isclass(kind) else str(kind)


def cut(name: str) -> str:
    """Return a key of the payload, short enough for a message."""
    return name if len(name) <= _NAME_MAX else name[:_NAME_MAX] + "…"
