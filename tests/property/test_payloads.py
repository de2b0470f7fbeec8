"""Strictness, for any type and any payload, against an oracle that is a few lines long."""

import math
from types import NoneType
from typing import Literal, Optional, get_args, get_origin

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from service.core.wire import Json, encode
from service.tasks.context import Context
from service.tasks.payloads import PayloadError, check_payload_type, structure
from service.tasks.task import Task

SCALARS: list[object] = [str, int, float, bool, NoneType, Literal["a", 1]]


def containers(kinds: SearchStrategy[object]) -> SearchStrategy[object]:
    return st.one_of(
        kinds.map(lambda kind: list[kind]),  # type: ignore[valid-type] # made at run time
        kinds.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type] # made at run time
        kinds.map(lambda kind: Optional[kind]),  # noqa: UP045 - a literal has no | before 3.14
        kinds.map(class_around),
    )


def class_around(kind: object) -> object:
    body = {"__annotations__": {"must": kind, "may": kind}, "may": None}
    return attrs.frozen(type("Made", (), body))


KINDS = st.recursive(st.sampled_from(SCALARS), containers, max_leaves=4)
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(["a", "1"])
VALUES: SearchStrategy[Json] = st.recursive(
    LEAVES.filter(lambda leaf: not isinstance(leaf, float) or math.isfinite(leaf)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["must", "may", "other"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def expected(kind: object, value: Json) -> Json:
    """Say what the documentation says; ValueError for what it does not name."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is list and isinstance(value, list):
        return [expected(args[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: expected(args[1], item) for key, item in value.items()}
    if NoneType in args:
        return None if value is None else expected(args[0], value)
    if isinstance(kind, type) and attrs.has(kind) and isinstance(value, dict):
        return expected_of_class(kind, value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind or (origin is Literal and (type(value), value) in typed(args)):
        return value
    raise ValueError(value)


def typed(choices: tuple[object, ...]) -> list[tuple[type, object]]:
    return [(type(choice), choice) for choice in choices]


def expected_of_class(kind: type, value: dict[str, Json]) -> Json:
    if "must" not in value or not value.keys() <= {"must", "may"}:
        raise ValueError(value)
    types = {field.name: field.type for field in attrs.fields(kind)}
    may = expected(types["may"], value["may"]) if "may" in value else None
    return {"may": may, "must": expected(types["must"], value["must"])}


def plain(value: object) -> object:
    """Turn what was made back into JSON."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if attrs.has(type(value)):
        return {name: plain(getattr(value, name)) for name in ("may", "must")}
    return value


def function(_: Context, /, *_payload: object) -> None: ...


@given(KINDS, VALUES)
def test_a_payload_is_taken_exactly_when_it_fits(kind: object, value: Json) -> None:
    """What fits is taken, every part as it was; all else is a PayloadError."""
    check_payload_type(kind)
    task = Task(
        id="x",
        function=function,
        place="",
        is_async=False,
        takes_payload=True,
        payload_type=kind,
    )
    try:
        wanted = encode(expected(kind, value))  # as text, for 1 == 1.0 == True in Python
    except ValueError:
        with pytest.raises(PayloadError, match=r"^payload"):
            structure(task, value)
    else:
        assert encode(plain(structure(task, value))) == wanted
