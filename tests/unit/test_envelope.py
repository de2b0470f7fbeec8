"""What a body may be made of, before Python makes anything of it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core import envelope
from service.core.envelope import BadEnvelope, parse_envelope
from service.core.wire import Json

VALUES = st.recursive(
    st.none() | st.integers() | st.text(',[{"\\}]a', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(',"{', max_size=3), inner),
    max_leaves=12,
)


def elements(value: Json) -> int:
    """Count what a reader sees: the brackets, and the commas between members."""
    if not isinstance(value, list | dict):
        return 0
    members = value if isinstance(value, list) else list(value.values())
    return 1 + max(len(members) - 1, 0) + sum(map(elements, members))


@given(VALUES)
def test_commas_in_texts_are_not_counted(payload: Json) -> None:
    """A body is taken as long as there are few enough elements, whatever its texts say."""
    body = {"jobId": "x", "payload": payload}
    text = json.dumps(body).encode()
    count = elements(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envelope, "ELEMENTS_MAX", count)
        assert parse_envelope(text).payload == payload
        patch.setattr(envelope, "ELEMENTS_MAX", count - 1)
        with pytest.raises(BadEnvelope, match="more than"):
            parse_envelope(text)


@pytest.mark.parametrize(
    "body",
    [b'"' + b'\\"' * 13_000_000, b'"' + b"\\" * 25_999_999, b'["' + b'","' * 9_000_000],
    ids=["a text without an end", "escapes without an end", "texts and nothing else"],
)
def test_no_body_is_read_twice(body: bytes) -> None:
    """What is refused costs no more than to look at it once: these would take days."""
    with pytest.raises(BadEnvelope, match=r"not valid JSON|more than"):
        parse_envelope(body + b"," * 1_000_001)
