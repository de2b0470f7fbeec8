"""Structured logs: one event a line, from our code and from the libraries alike.

A logger may be made anywhere and at any time: level, format and descriptor belong to `logging_to`,
which the process enters once. Outside it, warnings and worse go to stderr.

Fields come from the call, from `Logger.bind`, and from `bound` around the code that
runs, worker threads included; the ids of the current span are added.
"""

import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar
from functools import partial
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING
from types import MappingProxyType
from typing import Final, TextIO

import structlog
from opentelemetry import trace
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, Processor

from service.observability.lines import LINE_BYTES, Render, console_renderer, json_line
from service.observability.sink import Line, Sink
from service.settings import LogFormat

__all__ = ["LEVELS", "Logger", "bound", "get_logger", "logging_to", "names_bound_in"]


LEVELS: Final = {
    "debug": DEBUG,
    "info": INFO,
    "warning": WARNING,
    "error": ERROR,
    "critical": CRITICAL,
}
CLOSE_SECONDS: Final = 1.0
NO_NAMES: Final[Mapping[str, object]] = MappingProxyType({})
QUIET: Final = {
    "h2": WARNING,  # headers, at debug
    "hpack": WARNING,  # as h2
    "httpcore": WARNING,  # as h2
    "httpx": WARNING,  # every request, with its query, at info
    "opentelemetry": WARNING,
    "sentry_sdk": WARNING,
    "urllib3": ERROR,  # every retry, though telemetry has said that it cannot be delivered
}


class Logger(structlog.BoundLoggerBase):
    """Says what happened: a constant message for a person, and fields for a program.

    Never blocks and never raises, whatever the fields hold.
    """

    def debug(self, message: str, /, **fields: object) -> None:
        """Say what only someone who looks for a fault wants to know."""
        if _out.level <= DEBUG:
            self._say("debug", message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        """Say what happened as it should."""
        if _out.level <= INFO:
            self._say("info", message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        """Say what went wrong and was dealt with."""
        if _out.level <= WARNING:
            self._say("warning", message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        """Say what failed; `exc_info=error` adds an exception."""
        if _out.level <= ERROR:
            self._say("error", message, fields)

    def exception(self, message: str, /, **fields: object) -> None:
        """Say what failed, with the exception that is being handled."""
        self.error(message, exc_info=True, **fields)

    def critical(self, message: str, /, **fields: object) -> None:
        """Say what ends the process."""
        if _out.level <= CRITICAL:
            self._say("critical", message, fields)

    def _say(self, level: str, message: str, fields: dict[str, object]) -> None:
        _say(level, {**self._context, **fields, "event": message})


def get_logger(name: str) -> Logger:
    """Return the logger of a module; cheap enough for its top, whatever is set up later."""
    return Logger(None, _PROCESSORS, {"logger": name})


class bound:  # noqa: N801 - read as a verb: with bound(run_id=...)
    """Put `names` on every line that is logged within.

    A class: as a generator it takes twice as long.
    """

    __slots__ = ("_names", "_token")

    def __init__(self, **names: object) -> None:
        self._names = names

    def __enter__(self) -> None:
        self._token = _bound.set({**_bound.get(), **self._names})

    def __exit__(self, *_exc: object) -> None:
        _bound.reset(self._token)


def names_bound_in(context: Context) -> Mapping[str, object]:
    """Return what is put on every line that is logged in `context`, which is not entered."""
    return context.get(_bound, NO_NAMES)


@contextmanager
def logging_to(descriptor: int, *, level: str, format: LogFormat) -> Iterator[None]:  # noqa: A002 - the setting's own name
    """Send all logs of the process to `descriptor`: ours, the libraries', warnings, lost errors.

    `auto` is pretty when the descriptor is a terminal, and JSON otherwise. Leaving waits for slow
    readers for `CLOSE_SECONDS` at most.
    """
    terminal = os.isatty(descriptor)
    render: Render = json_line
    if format == LogFormat.CONSOLE or (format == LogFormat.AUTO and terminal):
        render = console_renderer(colors=terminal and "NO_COLOR" not in os.environ)
    sink = Sink(descriptor, _lost_line(render))
    with ExitStack() as undo:
        undo.callback(sink.close, CLOSE_SECONDS)
        undo.callback(_out.set, _out.level, _out.render, _out.put)
        _out.set(LEVELS[level], render, sink.put)
        _route_libraries(undo, LEVELS[level])
        _route_lost_errors(undo)
        yield


class _Out:
    """Where lines go now, how they look, and from which level on."""

    def __init__(self) -> None:
        self.set(WARNING, console_renderer(colors=False), _to_stderr)

    def set(self, level: int, render: Render, put: Callable[[Line], None]) -> None:
        self.level = level
        self.render = render
        self.put = put


class _Handler(logging.Handler):
    """Takes what libraries log through the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - arguments that do not fit; the template says enough
            message = str(record.msg)
        level = next((name for name, number in _DOWNWARD if record.levelno >= number), "debug")
        _say(level, {"logger": record.name, "event": message, "exc_info": record.exc_info})


def _say(level: str, event: EventDict) -> None:
    try:
        for process in _PROCESSORS:
            event = process(None, level, event)  # type: ignore[assignment] # the last one decides
    except structlog.DropEvent:  # of whoever put other processors in their place, as tests do
        pass


def _write(theirs: object, level: str, event: EventDict) -> str:
    """Complete an event, by the names that are bound and the ids of the span, and have it written.

    Nothing is left for structlog's own loggers to write, whose lines have what it binds, too.
    """
    if theirs is not None:
        merge_contextvars(theirs, level, event)
    for name, value in _bound.get().items():
        event.setdefault(name, value)
    trace_id, span_id, _, _, _, is_valid = trace.get_current_span().get_span_context()
    if is_valid:
        event["trace_id"] = trace_id.to_bytes(16).hex()
        event["span_id"] = span_id.to_bytes(8).hex()
    error = event.get("exc_info")
    if error is True:
        event["exc_info"] = sys.exception()
    elif type(error) is tuple:  # not isinstance: an exception of a task may lie about its class
        event["exc_info"] = error[1]
    make = partial(_out.render, time.time(), level, event)
    _out.put(make if _can_wait(event) else make())
    return ""


def _can_wait(event: EventDict) -> bool:
    """Return whether the line can be made later: of little, and of nothing that may change."""
    characters = 0
    for value in event.values():
        if type(value) is str:
            characters += len(value)
        elif type(value) not in _CONSTANT:
            return False
    return characters <= LINE_BYTES


def _to_stderr(line: Line) -> None:
    sys.stderr.write((line if isinstance(line, bytes) else line()).decode())


def _lost_line(render: Render) -> Callable[[int], bytes]:
    def lost_line(lines: int) -> bytes:
        event = {
            "logger": __name__,
            "event": "log lines were dropped: their reader was too slow or gone",
            "lines": lines,
        }
        return render(time.time(), "warning", event)

    return lost_line


def _route_libraries(undo: ExitStack, level: int) -> None:
    root = logging.getLogger()
    undo.callback(root.setLevel, root.level)
    root.setLevel(level)
    for name, floor in QUIET.items():
        library = logging.getLogger(name)
        undo.callback(library.setLevel, library.level)
        library.setLevel(max(level, floor))
    others = root.handlers[:]
    undo.callback(root.handlers.__setitem__, slice(None), others)
    root.handlers[:] = [_Handler()]


def _route_lost_errors(undo: ExitStack) -> None:
    """Bring warnings, and errors that no one catches, into the same shape."""
    log = get_logger(__name__)

    def warned(  # noqa: PLR0913, PLR0917 - the signature of the standard library
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        del file, line
        place = f"{filename}:{lineno}"
        get_logger("py.warnings").warning(str(message), category=category.__name__, place=place)

    def thread_died(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else None
        log.error("a thread died by an error", thread=name, exc_info=args.exc_value)

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        log.error(
            args.err_msg or "an error that could not be raised",
            object=repr(args.object),
            exc_info=args.exc_value,
        )

    undo.callback(setattr, warnings, "showwarning", warnings.showwarning)
    warnings.showwarning = warned
    undo.callback(setattr, threading, "excepthook", threading.excepthook)
    threading.excepthook = thread_died
    undo.callback(setattr, sys, "unraisablehook", sys.unraisablehook)
    sys.unraisablehook = unraisable


_bound: Final[ContextVar[Mapping[str, object]]] = ContextVar("log_names", default=NO_NAMES)
_CONSTANT: Final = frozenset({int, float, bool, type(None)})
_DOWNWARD: Final = sorted(LEVELS.items(), key=lambda level: -level[1])
_PROCESSORS: Final[list[Processor]] = [_write]
_out: Final = _Out()
structlog.configure(processors=_PROCESSORS, logger_factory=structlog.ReturnLoggerFactory())
