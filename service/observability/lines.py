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
        "timestamp": f'"timestamp":"{_timestamp(at)}"',
        "level": f'"level":"{level}"',
        "message": f'"message":{_told(event.get("event"))}',
    }
    for name, value in event.items():
        if name not in _SPECIAL:
            shown = name if len(name) <= KEY_CHARACTERS and name not in _STANDARD else _field(name)
            line[shown] = f"{_name(shown)}:{_told(value)}"
    error = event.get("exc_info")
    if isinstance(error, BaseException):
        line["exception"] = f'"exception":{_json(describe(error))}'
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


@lru_cache(maxsize=1024)
def _name(shown: str) -> str:
    return _json(shown)


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
    """Join the fields of a line, each under its name."""
    text = ",".join(line.values())
    if not text.isascii() or _DELETE in text:  # all else in ASCII that is unprintable is escaped
        text = visible(text)
    return f"{{{text}}}\n".encode()


def _shortened(line: Mapping[str, str]) -> dict[str, str]:
    """Leave out the fields that make the line too long; standard ones come first and stay."""
    kept: dict[str, str] = {}
    left = LINE_BYTES - len(b'{"cut":9999}\n')
    for name, field in line.items():
        size = len(_joined({name: field}))
        if size <= left:
            kept[name] = field
            left -= size
    kept["cut"] = f'"cut":{len(line) - len(kept)}'
    return kept


def _timestamp(at: float) -> str:
    return _millisecond(int(at * 1000))


@lru_cache(maxsize=16)
def _millisecond(since_epoch: int) -> str:
    second, milliseconds = divmod(since_epoch, 1000)
    return f"{_second(second)}.{milliseconds:03d}Z"


@lru_cache(maxsize=4)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))
