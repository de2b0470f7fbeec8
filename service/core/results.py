"""What a task may say: `ok`, `error`, `Permanent`, `RetryAfter`, and the result they become."""

from functools import cached_property
from typing import Literal

import attrs

from service.core.wire import Json, encode

__all__ = ["Permanent", "Result", "RetryAfter", "error", "ok"]


@attrs.frozen
class Result:
    """The outcome of a run as the PRD words it: status, message and JSON data."""

    status: Literal["ok", "error"]
    message: str | None = None
    data: Json = None

    def to_json(self) -> dict[str, Json]:
        """Return the wire form; parts that hold nothing are left out."""
        wire: dict[str, Json] = {"status": self.status}
        if self.message is not None:
            wire["message"] = self.message
        if self.data is not None:
            wire["data"] = self.data
        return wire

    @cached_property
    def encoded(self) -> str:
        """The wire form as JSON text, written once; raises NotJson if a part is not JSON."""
        return encode(self.to_json())


def ok(data: Json = None, message: str | None = None) -> Result:
    """Return a success with JSON `data` and a `message` for a person."""
    return Result("ok", message, data)


def error(message: str, data: Json = None) -> Result:
    """Return a final failure: a verdict of the task, so it is not retried."""
    return Result("error", message, data)


class Permanent(Exception):
    """Raise to fail the run for good: no retry follows."""


class RetryAfter(Exception):
    """Raise to fail the attempt and name the wait before the next one, in seconds."""

    def __init__(self, seconds: float, message: str = "asked to be retried later") -> None:
        super().__init__(message)
        self.seconds = seconds
