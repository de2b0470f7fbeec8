"""A task as the service knows it: a function under an id, with its options."""

from typing import Final, Protocol

import attrs

from service.core.limits import UNLIMITED, Limits
from service.tasks.context import Context

__all__ = ["RETRIES", "Task", "TaskFunction"]

RETRIES: Final = 3
"""Further attempts after the first, for a task that names no number of its own."""

_ID_MAX: Final = 128
_RETRIES_MAX: Final = 100
_WEEK_SECONDS: Final = 7 * 86_400


class TaskFunction(Protocol):
    """A task's function: ``(ctx)`` or ``(ctx, payload)``, as its `Task` says."""

    def __call__(self, ctx: Context, /, *payload: object) -> object:
        """Perform one attempt."""
        ...


@attrs.frozen(kw_only=True)
class Task:
    """A registered function; durations are in seconds, and None means the service's setting.

    Raises ValueError, which names the option, what it held and what it may hold.
    """

    id: str
    function: TaskFunction
    place: str
    """Where the function stands, as file:line."""
    is_async: bool
    """Runs on the loop; else in a worker thread."""
    takes_payload: bool
    payload_type: object
    """What the payload is structured as; `object` takes any JSON value as it is."""
    timeout: float | None = None
    retries: int = RETRIES
    retry_base_seconds: float | None = None
    retry_max_seconds: float | None = None
    limits: Limits = UNLIMITED

    def __attrs_post_init__(self) -> None:
        if not (self.id.isprintable() and 0 < len(self.id) <= _ID_MAX):
            raise ValueError(f"its id is not a text of 1 to {_ID_MAX} printable characters")
        if type(self.retries) is not int or not 0 <= self.retries <= _RETRIES_MAX:
            raise ValueError(
                f"retries: {self.retries!r} is not a whole number from 0 to {_RETRIES_MAX}"
            )
        _check_seconds("timeout", self.timeout, least=0.001)
        _check_seconds("retry_base_seconds", self.retry_base_seconds)
        _check_seconds("retry_max_seconds", self.retry_max_seconds)


def _check_seconds(option: str, value: float | None, *, least: float = 0) -> None:
    if value is None or (type(value) in {int, float} and least <= value <= _WEEK_SECONDS):
        return
    raise ValueError(
        f"{option}: {value!r} is not a number of seconds from {least} to {_WEEK_SECONDS}"
    )
