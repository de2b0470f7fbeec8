"""JSON and instants on their way in and out: strict both ways."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias

__all__ = ["Json", "NotJson", "decode", "encode", "encode_decoded", "is_unicode", "rfc3339"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""A value of RFC 8259, as Python holds it."""


class NotJson(ValueError):
    """The text or the value is not JSON; the message says where and why."""


def decode(text: bytes | str) -> Json:
    """Parse strict JSON (RFC 8259, and no lone surrogates: RFC 7493 section 2.1).

    Raises NotJson for anything else: NaN and Infinity, numbers beyond a double, nesting deeper
    than the parser can follow, bytes that are not UTF-8. Of duplicate keys the last one counts.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        value: Json = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except ValueError as error:
        raise NotJson(str(error)) from None
    if "\\ud" in text or "\\uD" in text:  # only such an escape can have made a lone surrogate
        encode_decoded(value)
    return value


def encode(value: object) -> str:
    """Write `value` as compact JSON.

    Raises NotJson with the place of the first part that is not JSON, such as
    ``$.items[3].when: datetime``; nothing is turned into something else on the way, keys neither.
    """
    try:
        if not _has_text_keys(value):
            raise NotJson(next(_faults(value, "$")))
    except RecursionError:
        raise NotJson(_TOO_DEEP) from None
    return encode_decoded(value)


def encode_decoded(value: object) -> str:
    """Write what `decode` has read, as `encode` does: that its keys are text is known."""
    try:
        text = _ENCODER.encode(value)
        text.encode()
    except RecursionError:
        raise NotJson(_TOO_DEEP) from None
    except (TypeError, ValueError) as error:
        raise NotJson(next(_faults(value, "$"), str(error))) from None
    return text


def rfc3339(instant: datetime | None) -> str | None:
    """Write an aware instant in UTC with milliseconds, as RFC 3339 has it."""
    if instant is None:
        return None
    whole_seconds = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole_seconds}.{instant.microsecond // 1000:03d}Z"


def is_unicode(text: str) -> bool:
    """Tell whether a text has no lone surrogate, as which Python reads a byte that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TOO_DEEP: Final = "$: nested too deeply or holds itself"
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _refuse_constant(name: str) -> Json:
    raise NotJson(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson(f"{digits[:40]} is beyond a double")
    return number


def _has_text_keys(value: object) -> bool:
    """Tell whether all keys are text; the encoder would make text of other keys, silently.

    Costs about half of the encoding. Types are compared because that is quicker than isinstance.
    """
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str and not isinstance(key, str):
                return False
        value = value.values()
    elif not isinstance(value, list | tuple):
        return True
    for item in value:  # noqa: SIM110 - a generator for each container would double the cost
        if type(item) not in _SCALARS and not _has_text_keys(item):
            return False
    return True


def _faults(value: object, place: str) -> Iterator[str]:
    """Name each part that JSON cannot hold."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{place}: a key is {type(key).__name__}, not str"
            yield from _faults(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _faults(item, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: {value} is not a JSON number"
    elif isinstance(value, str) and not is_unicode(value):
        yield f"{place}: text with a lone surrogate"
    elif not isinstance(value, bool | int | float | str | None):
        yield f"{place}: {type(value).__name__}"
