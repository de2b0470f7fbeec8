"""What we use of structlog, loaded without rich.

structlog loads rich where it can, to draw tracebacks that we write ourselves, and each start would
wait for that.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "BoundLoggerBase",
    "ConsoleRenderer",
    "DropEvent",
    "EventDict",
    "Processor",
    "bound_contextvars",
    "configure",
    "merge_contextvars",
]


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let nobody find a module within, unless it is loaded already."""
    modules: dict[str, object] = sys.modules  # type: ignore[assignment] # None says: there is none
    modules.setdefault(name, None)
    try:
        yield
    finally:
        if modules[name] is None:
            del modules[name]


with _hidden("rich"):
    from structlog import BoundLoggerBase, DropEvent, configure
    from structlog.contextvars import bound_contextvars, merge_contextvars
    from structlog.dev import ConsoleRenderer
    from structlog.typing import EventDict, Processor
