"""Plain records as OTLP's message of a span (opentelemetry-proto, trace/v1), written by hand.

Most attributes are the same each time, so their bytes are kept.
"""

from functools import lru_cache
from struct import pack
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue as Value
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags
from opentelemetry.proto.trace.v1.trace_pb2 import Status as SpanStatus
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.util.types import AnyValue

from service.observability.protobuf import (
    FIXED_32,
    FIXED_64,
    SIZED,
    VARINT,
    signed,
    sized,
    tag,
    varint,
)
from service.observability.recording import UNSET, Record

__all__ = ["NotPlain", "written"]

_KEPT_CHARACTERS: Final = 24
"""Longer texts, ids among them, seldom come again."""

_TRACE_ID: Final = tag(Span.TRACE_ID_FIELD_NUMBER, SIZED) + varint(16)
_SPAN_ID: Final = tag(Span.SPAN_ID_FIELD_NUMBER, SIZED) + varint(8)
_STATE: Final = tag(Span.TRACE_STATE_FIELD_NUMBER, SIZED)
_PARENT_ID: Final = tag(Span.PARENT_SPAN_ID_FIELD_NUMBER, SIZED) + varint(8)
_NAME: Final = tag(Span.NAME_FIELD_NUMBER, SIZED)
_KIND: Final = tag(Span.KIND_FIELD_NUMBER, VARINT)
_START: Final = tag(Span.START_TIME_UNIX_NANO_FIELD_NUMBER, FIXED_64)
_END: Final = tag(Span.END_TIME_UNIX_NANO_FIELD_NUMBER, FIXED_64)
_ATTRIBUTE: Final = tag(Span.ATTRIBUTES_FIELD_NUMBER, SIZED)
_STATUS: Final = tag(Span.STATUS_FIELD_NUMBER, SIZED)
_FLAGS: Final = tag(Span.FLAGS_FIELD_NUMBER, FIXED_32)
_CODE: Final = tag(SpanStatus.CODE_FIELD_NUMBER, VARINT)
_MESSAGE: Final = tag(SpanStatus.MESSAGE_FIELD_NUMBER, SIZED)
_KEY: Final = tag(KeyValue.KEY_FIELD_NUMBER, SIZED)
_VALUE: Final = tag(KeyValue.VALUE_FIELD_NUMBER, SIZED)
_TEXT: Final = tag(Value.STRING_VALUE_FIELD_NUMBER, SIZED)
_BOOL: Final = tag(Value.BOOL_VALUE_FIELD_NUMBER, VARINT)
_INT: Final = tag(Value.INT_VALUE_FIELD_NUMBER, VARINT)
_FLOAT: Final = tag(Value.DOUBLE_VALUE_FIELD_NUMBER, FIXED_64)

_KINDS: Final = {
    SpanKind.INTERNAL: _KIND + varint(Span.SPAN_KIND_INTERNAL),
    SpanKind.SERVER: _KIND + varint(Span.SPAN_KIND_SERVER),
    SpanKind.CLIENT: _KIND + varint(Span.SPAN_KIND_CLIENT),
    SpanKind.PRODUCER: _KIND + varint(Span.SPAN_KIND_PRODUCER),
    SpanKind.CONSUMER: _KIND + varint(Span.SPAN_KIND_CONSUMER),
}
_IS_KNOWN: Final = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_IS_REMOTE: Final = SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_LOCAL: Final = _FLAGS + pack("<I", _IS_KNOWN)
_REMOTE: Final = _FLAGS + pack("<I", _IS_KNOWN | _IS_REMOTE)


class NotPlain(Exception):
    """There is more to a record than is written by hand."""


def written(record: Record) -> bytes:
    """Return the message. Raises NotPlain, and ValueError for what is not Unicode."""
    if record.events or record.links or record.end_time is None:
        raise NotPlain
    context, parent = record.context, record.parent
    try:
        parts = [
            _TRACE_ID,
            context.trace_id.to_bytes(16),
            _SPAN_ID,
            context.span_id.to_bytes(8),
            _called(record.name, record.kind),
            _START,
            record.start_time.to_bytes(8, "little"),
            _END,
            record.end_time.to_bytes(8, "little"),
            _NO_STATUS if record.status is UNSET else _status(record.status),
            _REMOTE if parent is not None and parent.is_remote else _LOCAL,
        ]
        for key, value in record.attributes.items():
            if type(value) is int or (type(value) is str and len(value) <= _KEPT_CHARACTERS):
                parts.append(_kept_attribute(key, value))
            else:
                parts.append(_attribute(key, value))
    except (AttributeError, TypeError, OverflowError):  # of a type or a size that no one expects
        raise NotPlain from None
    if parent is not None:
        parts += (_PARENT_ID, parent.span_id.to_bytes(8))
    if context.trace_state:
        parts += (_STATE, sized(context.trace_state.to_header().encode()))
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _called(name: str, kind: SpanKind) -> bytes:
    return _NAME + sized(name.encode()) + _KINDS[kind]


def _status(status: Status) -> bytes:
    content = b""
    if status.status_code is not StatusCode.UNSET:
        content += _CODE + varint(status.status_code.value)
    if status.description is not None:
        content += _MESSAGE + sized(status.description.encode())
    return _STATUS + sized(content)


def _attribute(key: str, value: AnyValue) -> bytes:
    if type(value) is str:
        text = value.encode()
        return _before_text(key, len(text)) + text
    if type(value) is int:
        told = _INT + signed(value)
    elif type(value) is bool:
        told = _BOOL + varint(value)
    elif type(value) is float:
        told = _FLOAT + pack("<d", value)
    else:
        raise NotPlain
    return _ATTRIBUTE + sized(_KEY + sized(key.encode()) + _VALUE + sized(told))


@lru_cache(maxsize=1024)
def _before_text(key: str, size: int) -> bytes:
    """Write all of an attribute but its text, which is its end and of `size` bytes."""
    told = _TEXT + varint(size)
    pair = _KEY + sized(key.encode()) + _VALUE + varint(len(told) + size) + told
    return _ATTRIBUTE + varint(len(pair) + size) + pair


_NO_STATUS: Final = _status(UNSET)
_kept_attribute = lru_cache(maxsize=1024)(_attribute)
