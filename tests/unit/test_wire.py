"""JSON on its way out: what is written is what was there, or the place of what cannot be."""

import math
from collections import OrderedDict
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.core.wire import Json, NotJson, decode, encode, encode_decoded

SCALARS = some.none() | some.booleans() | some.integers() | some.text() | some.floats(-1e9, 1e9)
JSON = some.recursive(
    SCALARS, lambda parts: some.lists(parts) | some.dictionaries(some.text(), parts)
)


class Word(StrEnum):
    KEY = "key"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "$: a key is int, not str"),
        ({"items": [0, 1, 2, {1: 2}]}, "$.items[3]: a key is int, not str"),
        ({"a": {None: 1}}, "$.a: a key is NoneType, not str"),
        ({"a": ({True: 1},)}, "$.a[0]: a key is bool, not str"),
        ([OrderedDict({1.5: 1})], "$[0]: a key is float, not str"),
        ({(1, 2): 3}, "$: a key is tuple, not str"),
        ({"items": [{"when": datetime(2026, 1, 1, tzinfo=UTC)}]}, "$.items[0].when: datetime"),
        ({"a": math.nan}, "$.a: nan is not a JSON number"),
        ([math.inf], "$[0]: inf is not a JSON number"),
        (["\ud800"], "$[0]: text with a lone surrogate"),
        ({"a": {1, 2}}, "$.a: set"),
        (b"bytes", "$: bytes"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(value: object, message: str) -> None:
    """Nothing is turned into something else: the first part that is not JSON is named."""
    with pytest.raises(NotJson) as refused:
        encode(value)
    assert str(refused.value) == message


def test_value_that_holds_itself_is_refused() -> None:
    """A circle has no end, and is said to be one."""
    circle: list[object] = []
    circle.append({"again": circle})
    with pytest.raises(NotJson, match="holds itself"):
        encode(circle)


def test_keys_may_be_any_kind_of_text() -> None:
    """A member of a StrEnum is text, and is written as its value."""
    assert encode({Word.KEY: (Word.KEY, 1)}) == '{"key":["key",1]}'


@given(JSON)
def test_json_comes_back_as_it_was(value: Json) -> None:
    """What was written is read as it was; and what was read may be written without a look."""
    text = encode(value)
    assert decode(text) == value
    assert encode_decoded(decode(text)) == text


@given(
    some.recursive(SCALARS, lambda parts: some.dictionaries(some.text() | some.integers(), parts))
)
def test_other_keys_are_refused_wherever_they_are(value: object) -> None:
    """A value is refused exactly when what would come back is not what it was."""
    if decode(encode_decoded(value)) == value:
        assert decode(encode(value)) == value
    else:
        with pytest.raises(NotJson, match="a key is int, not str"):
            encode(value)
