"""Any value as JSON of bounded size, whatever it is and whatever its methods do."""

import math
from collections.abc import Collection
from datetime import datetime
from typing import Final

from service.core.wire import Json, rfc3339

__all__ = ["KEY_CHARACTERS", "TEXT_CHARACTERS", "cut", "plain"]

TEXT_CHARACTERS: Final = 4096
KEY_CHARACTERS: Final = 128
ITEMS: Final = 256
DEPTH: Final = 6
INT_BITS: Final = 63  # what readers of JSON can be expected to hold


def plain(value: object) -> Json:
    """Return `value` as JSON: texts cut, containers thinned, foreign objects as their repr.

    Never raises: an object that cannot be shown is named by its type.
    """
    if type(value) is str:  # as most are, or a number
        return cut(value)
    if type(value) is int and value.bit_length() <= INT_BITS:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    try:
        return _Thinner().thin(value, DEPTH)
    except BaseException as error:  # noqa: ASYNC103, BLE001 - a foreign __repr__ may raise anything
        return f"<{type(value).__name__}: {type(error).__name__} when shown>"  # noqa: ASYNC104 - as above


def cut(text: str, characters: int = TEXT_CHARACTERS) -> str:
    """Return the beginning of `text`, saying so if there was more."""
    if len(text) <= characters:
        return text
    return f"{text[:characters]}... ({len(text)} characters)"


def _key(key: object) -> str:
    """Return a key of a mapping as text."""
    return cut(key if type(key) is str else str(plain(key)), KEY_CHARACTERS)


class _Thinner:
    """Converts one value, with a number of items that all its containers share."""

    def __init__(self) -> None:
        self._items = ITEMS

    def thin(self, value: object, depth: int) -> Json:  # noqa: PLR0911 - one a type
        match value:
            case None | bool():
                return value
            case str():
                return cut(str.__str__(value))
            case int():
                bits = int.bit_length(value)
                return int(value) if bits <= INT_BITS else f"<an integer of {bits} bits>"
            case float():
                return float(value) if math.isfinite(value) else repr(float(value))
            case datetime() if value.tzinfo is not None:
                return rfc3339(value)
            case bytes() | bytearray():
                return cut(repr(bytes(value[:TEXT_CHARACTERS])))
            case dict() | list() | tuple() | set() | frozenset() if depth == 0:
                return f"<{type(value).__name__} of {len(value)}>"
            case dict():
                return self._mapping(value, depth - 1)
            case list() | tuple() | set() | frozenset():
                return self._sequence(value, depth - 1)
            case _:
                return cut(repr(value))

    def _mapping(self, value: dict[object, object], depth: int) -> Json:
        thinned: dict[str, Json] = {}
        for seen, (key, item) in enumerate(value.items()):
            if self._items <= 0:
                thinned["..."] = f"{len(value) - seen} more"
                break
            self._items -= 1
            thinned[_key(key)] = self.thin(item, depth)
        return thinned

    def _sequence(self, values: Collection[object], depth: int) -> Json:
        thinned: list[Json] = []
        for item in values:
            if self._items <= 0:
                thinned.append(f"... {len(values) - len(thinned)} more")
                break
            self._items -= 1
            thinned.append(self.thin(item, depth))
        return thinned
