"""What a task's author imports, and nothing else.

Each name is imported when it is first asked for: this module is imported before any other, and the
process must be able to heed SIGTERM before it takes the time (0.3 s) that the libraries take.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from service.core.cronjob import CronJob
    from service.core.results import Permanent, Result, RetryAfter, error, ok
    from service.tasks.context import Context
    from service.tasks.http import HttpError
    from service.tasks.registry import task

__all__ = [
    "Context",
    "CronJob",
    "HttpError",
    "Permanent",
    "Result",
    "RetryAfter",
    "error",
    "ok",
    "task",
]

_HOMES: Final = {
    "Context": "service.tasks.context",
    "CronJob": "service.core.cronjob",
    "HttpError": "service.tasks.http",
    "Permanent": "service.core.results",
    "Result": "service.core.results",
    "RetryAfter": "service.core.results",
    "error": "service.core.results",
    "ok": "service.core.results",
    "task": "service.tasks.registry",
}

if not TYPE_CHECKING:  # or a type checker would believe in any name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)
