"""From an event to one line of text, whatever the event holds.

Nothing that a caller passes can raise here, break a line, hide a standard field or make a line
longer than container runtimes pass on in one piece.
"""

import json
import time
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Final, TypeAlias

from structlog.dev import ConsoleRenderer

from service.core.visible import visible, visible_lines
from service.core.wire import Json
from service.observability.exceptions import describe
from service.observability.thin import KEY_CHARACTERS, TEXT_CHARACTERS, cut, plain

__all__ = ["LINE_BYTES", "Render", "console_renderer", "json_line"]

LINE_BYTES: Final = 16 * 1024  # container runtimes split longer lines

Render: TypeAlias = "Callable[[float, str, Mapping[str, object]], bytes]"
"""Makes a line from the wall clock in seconds, a level and an event."""

_STANDARD: Final = frozenset({"timestamp", "level", "message"})
_SPECIAL: Final = frozenset({"event", "exc_info"})
_DELETE: Final = "\x7f"
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))


def json_line(at: float, level: str, event: Mapping[str, object]) -> bytes:
    """Write an event as one line of JSON, standard fields first."""
    line = {
        '"timestamp"': f'"{_timestamp(at)}"',
        '"level"': f'"{level}"',
        '"message"': _told(event.get("event")),
    }
    for name, value in event.items():
        if name not in _SPECIAL:
            line[_name(name)] = _told(value)
    error = event.get("exc_info")
    if isinstance(error, BaseException):
        line['"exception"'] = _json(describe(error))
    data = _joined(line)
    return data if len(data) <= LINE_BYTES else _joined(_shortened(line))


def console_renderer(*, colors: bool) -> Render:
    """Return a renderer for a person at a terminal; control characters are escaped."""
    pretty = ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=0)

    def console_line(at: float, level: str, event: Mapping[str, object]) -> bytes:
        shown: dict[str, object] = {
            "timestamp": _timestamp(at),
            "level": level,
            "event": visible(str(plain(event.get("event")))),
        }
        for name, value in event.items():
            if name not in _SPECIAL:
                item = plain(value)
                shown[visible(_field(name))] = visible(item) if isinstance(item, str) else item
        error = event.get("exc_info")
        if isinstance(error, BaseException):
            story = "".join(traceback.format_exception(error)).rstrip("\n")
            shown["exception"] = visible_lines(story)
        return f"{pretty(None, level, shown)}\n".encode()

    return console_line


def _field(name: str) -> str:
    """Return a field's name that hides none of the standard fields."""
    return f"{name}_" if name in _STANDARD else cut(name, KEY_CHARACTERS)


def _name(name: str) -> str:
    return _kept_name(name) if len(name) <= KEY_CHARACTERS else _json(_field(name))


@lru_cache(maxsize=1024)
def _kept_name(name: str) -> str:
    return _json(_field(name))


def _told(value: object) -> str:
    """Write any value as JSON; most are short texts and numbers, which need no more than this."""
    if type(value) is str and len(value) <= TEXT_CHARACTERS:
        return encode_basestring(value)
    known = plain(value)
    if type(known) is int or type(known) is float:
        return repr(known)  # as the encoder does in five times the time
    return _json(known)


def _json(value: Json) -> str:
    return _ENCODER.encode(value)


def _joined(line: Mapping[str, str]) -> bytes:
    """Join names and values, both JSON, to a line."""
    text = ",".join([f"{name}:{value}" for name, value in line.items()])
    if not text.isascii() or _DELETE in text:  # all else in ASCII that is unprintable is escaped
        text = visible(text)
    return f"{{{text}}}\n".encode()


def _shortened(line: Mapping[str, str]) -> dict[str, str]:
    """Leave out the fields that make the line too long; standard ones come first and stay."""
    kept: dict[str, str] = {}
    left = LINE_BYTES - len(b'{"cut":9999}\n')
    for name, value in line.items():
        size = len(_joined({name: value}))
        if size <= left:
            kept[name] = value
            left -= size
    kept['"cut"'] = _json(len(line) - len(kept))
    return kept


def _timestamp(at: float) -> str:
    seconds = int(at)
    return f"{_second(seconds)}.{int((at - seconds) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
