"""A payload becomes the declared type, or an error that names what is wrong and where."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NewType, Optional, Union

import attrs
import pytest

from service.core.wire import Json
from service.tasks.context import Context
from service.tasks.payloads import PayloadError, check_payload_type, structure
from service.tasks.task import Task


class Colour(StrEnum):
    """Texts with names."""

    RED = "red"


class Level(IntEnum):
    """Numbers with names."""

    LOW = 1


class Mode(Enum):
    """Both."""

    NONE = None
    ON = True


Name = NewType("Name", str)


@attrs.frozen
class Item:
    """A nested class."""

    name: str


@attrs.frozen
class Order:
    """A class with a rule of its own."""

    items: list[Item]
    count: int = attrs.field(default=1, validator=attrs.validators.ge(0))
    note: str | None = None
    _internal: int = attrs.field(default=0, init=False)


@attrs.frozen
class Push:
    """One of two that a field tells apart."""

    event: Literal["push"]
    ref: str


@attrs.frozen
class Release:
    """The other."""

    event: Literal["release"]
    tag: str


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: float
    y: float = 0.0


@attrs.frozen
class Tree:
    """A class that holds itself."""

    children: "list[Tree]"


@attrs.frozen
class Free:
    """A class with parts of any form."""

    data: Json
    more: dict[str, object]


def taking(kind: object) -> Task:
    def function(_: Context, /, *_payload: object) -> None: ...

    check_payload_type(kind)
    return Task(
        id="greet",
        function=function,
        place="jobs.py:1",
        is_async=False,
        takes_payload=True,
        payload_type=kind,
    )


@pytest.mark.parametrize(
    ("kind", "payload", "value"),
    [
        (str, "a", "a"),
        (int, 5, 5),
        (float, 2.5, 2.5),
        (float, 3, 3.0),
        (bool, False, False),
        (None, None, None),
        (Name, "a", "a"),
        (Annotated[int, "positive"], 5, 5),
        (int | None, None, None),
        (Optional[int], 5, 5),  # noqa: UP045 - the older spelling is accepted too
        (Union[int, str], "a", "a"),  # noqa: UP007 - as above
        (float | int, 5, 5),
        (str | date, "2026-01-31", date(2026, 1, 31)),
        (Item | Point, {"x": 1}, Point(1.0)),
        (Literal["a", 1], 1, 1),
        (Colour, "red", Colour.RED),
        (Level, 1, Level.LOW),
        (Mode, True, Mode.ON),
        (Mode, None, Mode.NONE),
        (date, "2026-01-31", date(2026, 1, 31)),
        (datetime, "2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
        (
            datetime,
            "2026-01-31T09:30:00.25+05:30",
            datetime(2026, 1, 31, 9, 30, 0, 250_000, timezone(timedelta(hours=5, minutes=30))),
        ),
        (list[int], [1, 2], [1, 2]),
        (list, [1, "a"], [1, "a"]),
        (Sequence[Item], [{"name": "a"}], [Item("a")]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, Any], {"a": [1]}, {"a": [1]}),
        (Mapping[str, list[Item]], {"a": [{"name": "b"}]}, {"a": [Item("b")]}),
        (Order, {"items": []}, Order([])),
        (Order, {"items": [{"name": "a"}], "note": "n"}, Order([Item("a")], note="n")),
        (Point, {"x": 1}, Point(1.0)),
        (Tree, {"children": [{"children": []}]}, Tree([Tree([])])),
        (Free, {"data": [{"a": None}], "more": {"b": 1}}, Free([{"a": None}], {"b": 1})),
    ],
)
def test_a_payload_becomes_what_the_task_declares(
    kind: object, payload: Json, value: object
) -> None:
    """What fits arrives as the declared type, at every depth."""
    structured = structure(taking(kind), payload)
    assert structured == value
    assert type(structured) is type(value)


@pytest.mark.parametrize("kind", [object, Any])
def test_an_untyped_payload_is_passed_as_it_is(kind: object) -> None:
    """No annotation means no opinion: the very same value arrives."""
    payload: Json = {"a": [1, None]}
    assert structure(taking(kind), payload) is payload


def test_a_task_without_a_payload_ignores_what_is_sent() -> None:
    """Sending something to a task that wants nothing is no reason to lose a run."""
    task = attrs.evolve(taking(object), takes_payload=False)
    assert structure(task, {"a": 1}) is None


@pytest.mark.parametrize(
    ("kind", "payload", "fault"),
    [
        (str, 5, "payload: expected str, got int"),
        (int, "5", "payload: expected int, got str"),
        (int, 5.0, "payload: expected int, got float"),
        (int, True, "payload: expected int, got bool"),
        (float, True, "payload: expected float, got bool"),
        (float, "1", "payload: expected float, got str"),
        (float, 10**400, "payload: expected float, got an int beyond its range"),
        (bool, "false", "payload: expected bool, got str"),
        (bool, 0, "payload: expected bool, got int"),
        (None, 0, "payload: expected null, got int"),
        (int | None, "5", "payload: expected int, got str"),
        (Order | None, {"items": 1}, "payload.items: expected list, got int"),
        (int | str, None, "payload: expected int or str, got null"),
        (Item | Point, {"z": 1}, "payload: expected Item or Point, got object"),
        (Item | str, {"name": 1}, "payload.name: expected str, got int"),
        (Push | Release, {"event": "release", "tag": 1}, "payload.tag: expected str, got int"),
        (list[Push | Release], [{"event": "push"}], "payload[0].ref: missing"),
        (Push | Release, {"event": "fork"}, "payload: expected Push or Release, got object"),
        (Literal["a", 1], True, "payload: expected one of 'a', 1"),
        (Literal[1], 1.0, "payload: expected one of 1"),
        (Colour, "RED", "payload: expected one of 'red'"),
        (Level, True, "payload: expected one of 1"),
        (Level, 1.0, "payload: expected one of 1"),
        (Level, [], "payload: expected one of 1"),
        (date, "2026-1-31", "payload: expected text such as 2026-01-31, got other text"),
        (date, "20260131", "payload: expected text such as 2026-01-31, got other text"),
        (datetime, "2026-01-31T09:30:00", "payload: expected text such as 2026-01-31T09:30:00Z"),
        (datetime, "2026-01-31 09:30:00Z", "payload: expected text such as 2026-01-31T09:30:00Z"),
        (datetime, "2026-02-30T09:30:00Z", "Z: day is out of range for month"),
        (datetime, 1_700_000_000, "payload: expected text such as 2026-01-31T09:30:00Z, got int"),
        (list[str], "abc", "payload: expected list, got str"),
        (list[str], {"a": 1}, "payload: expected list, got object"),
        (list[list[int]], [[1], [2, None]], "payload[1][1]: expected int, got null"),
        (dict, None, "payload: expected object, got null"),
        (dict[str, int], [], "payload: expected object, got list"),
        (dict[str, int], {"a": 1, "b": "x"}, "payload.b: expected int, got str"),
        (Order, [], "payload: expected object, got list"),
        (Order, None, "payload: expected object, got null"),
        (Order, {}, "payload.items: missing"),
        (Order, {"items": [{}]}, "payload.items[0].name: missing"),
        (
            Order,
            {"items": [*[{"name": "a"}] * 3, {"name": 5}]},
            "payload.items[3].name: expected str, got int",
        ),
        (Order, {"items": [], "count": -1}, "payload: 'count' must be >= 0: -1"),
        (
            Order,
            {"items": [], "nots": 1},
            "payload.nots: unknown, expected only items, count, note",
        ),
        (Order, {"items": [], "_internal": 1}, "payload._internal: unknown"),
        (Point, {"x": 1, "z": 1}, "payload.z: unknown, expected only x, y"),
        (
            Order,
            {"items": 1, "count": "x", "a": 1},
            "expected list, got int; payload.count: expected int, got str; payload.a: unknown",
        ),
    ],
)
def test_a_wrong_payload_names_each_fault_by_its_path(
    kind: object, payload: Json, fault: str
) -> None:
    """Nothing is coerced; the message says where, what was expected, and what came."""
    with pytest.raises(PayloadError) as refused:
        structure(taking(kind), payload)
    assert fault in str(refused.value)


def test_messages_stay_short_whatever_is_sent() -> None:
    """A hostile payload makes neither a long message nor a deep stack."""
    deep: Json = {"children": []}
    for _ in range(5_000):
        deep = {"children": [deep]}
    many: Json = {f"{n}" + "x" * 10**5: 1 for n in range(100)}
    cases: list[tuple[object, Json]] = [
        (Tree, deep),
        (Item, many),
        (dict[str, int], {"x" * 10**6: ""}),
    ]
    for kind, payload in cases:
        with pytest.raises(PayloadError) as refused:
            structure(taking(kind), payload)
        assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (bytes, "bytes"),
        (set[int], "set[int]"),
        (complex, "complex"),
        (timedelta, "timedelta"),
        (dict[int, str], "dict[int, str]"),
        (tuple[int, str], "tuple[int, str]"),
        (list[dict[str, bytes]], "bytes"),
        (Item | bytes, "bytes"),
        (Literal[Colour.RED], "typing.Literal[<Colour.RED: 'red'>]"),
        ("Nowhere", "Nowhere"),
    ],
)
def test_a_type_without_a_form_in_json_is_refused(kind: object, part: str) -> None:
    """No payload could ever fit, so the task does not even register; the part is named."""
    with pytest.raises(TypeError) as refused:
        check_payload_type(kind)
    assert str(refused.value) == f"{part} has no form in JSON"


def test_a_class_with_such_a_part_is_refused() -> None:
    """The check looks inside classes, and at names that lead nowhere."""

    @attrs.frozen
    class Blob:
        content: bytes

    @attrs.frozen
    class Lost:
        part: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - the case

    with pytest.raises(TypeError, match="bytes has no form in JSON"):
        check_payload_type(Blob)
    with pytest.raises(TypeError, match="'Nowhere' is not defined"):
        check_payload_type(Lost)
