"""One attempt at a run: the task is called, and whatever it does becomes an outcome.

Theory of operation: what a task may do to its caller
-----------------------------------------------------
Nothing. It returns, it fails, or it takes too long, and each of these is an outcome, as is
anything else it raises: `SystemExit` and `KeyboardInterrupt` too, for a task must not be able to
end the service. (A signal never arrives this way: signals stop the service, not a task.)

Only cancellation from outside passes through, because it is not the task's doing: a stop is not a
failure. It passes through also when the task answers it with an error of its own, in a `finally`
or in a nursery beside the cancelled ones; such an error is logged, and the interruption stands. A
task that finishes in spite of cancellation has finished.

A plain function runs in a worker thread, which nothing can stop. When its time is over the thread
is abandoned: it keeps its place among `threads` until it ends, and what it returns then is lost.
Long-running functions may ask `ctx.check_cancelled()`.

A nursery or a cancel scope that a task leaves open is a fault of the task: trio cancels what is
within, and tells as soon as the scope of the attempt ends. The nursery stays with the trio task of
the caller all the same, which must end: see `service.yard`. Out of reach is only what a task has
trio itself run, by `spawn_system_task` or from a thread by `from_thread.run`: trio ends with it.

A task that asks for a long pause is cancelled too, by itself: see `service.tasks.workspace`.
"""

import inspect
import math
from collections.abc import Awaitable
from itertools import islice
from typing import Final, cast

import trio

from service.core.errors import leaves
from service.core.results import Permanent, Result, RetryAfter, ok
from service.core.run import Failure, Suspended
from service.core.wire import Json, NotJson, encode
from service.observability.exceptions import name_of
from service.tasks.context import Context
from service.tasks.payloads import PayloadError, structure
from service.tasks.steps import StepTimeout
from service.tasks.task import Task
from service.tasks.threads import in_thread

__all__ = ["RESULT_MAX_BYTES", "RETRY_AFTER_MAX_SECONDS", "attempt"]

RESULT_MAX_BYTES: Final = 1_048_576
"""Largest result, as JSON in UTF-8; larger things belong into a store of the task's own."""

RETRY_AFTER_MAX_SECONDS: Final = 86_400.0
"""Longest wait that a task may ask for; a server's word, passed on, could be anything."""

_LEFT_OPEN: Final = (
    "the task left a nursery or a cancel scope open: is one entered without `with`, or held by an"
    " async generator that was not closed?"
)
_ERRORS_NAMED: Final = 5
_MESSAGE_MAX: Final = 2_000
_NOTES: Final = 3
_STEPS_NAMED: Final = 3
_NOTE_MAX: Final = 200


async def attempt(
    task: Task,
    ctx: Context,
    payload: Json,
    *,
    timeout_seconds: float,
    threads: trio.CapacityLimiter,
) -> Result | Failure | Suspended:
    """Perform `task` once, within `timeout_seconds`; a result is known to be JSON, and to fit.

    A plain function runs in one of `threads`; the wait for it counts. Suspended means that the
    task wants to go on later, Cancelled that the attempt was interrupted; neither is a failure.
    """
    try:
        arguments = [structure(task, payload)] if task.takes_payload else []
    except PayloadError as error:
        await trio.lowlevel.checkpoint()
        return Failure(str(error), permanent=True, exception=error)
    call = _Call(task, ctx, arguments, threads)
    outcome: Result | Failure | None = None
    scope = trio.CancelScope(deadline=trio.current_time() + timeout_seconds)
    ctx.workspace.scope = scope
    try:
        with scope:
            outcome = await _outcome(call, ctx)
    except RuntimeError:  # it is trio's, of a scope that is still open within
        await trio.lowlevel.checkpoint_if_cancelled()
        if isinstance(outcome, Result) or (outcome is None and not scope.cancel_called):
            outcome = Failure(_LEFT_OPEN, permanent=True)
    finally:
        ctx.workspace.ended = True
    if outcome is not None:
        return outcome
    if ctx.workspace.due_at is not None:
        return Suspended(ctx.workspace.due_at)
    message = f"task {task.id!r} timed out after {timeout_seconds:g} s"
    if ctx.workspace.underway:
        steps = islice(ctx.workspace.underway, _STEPS_NAMED)
        message += f", in {' and '.join(f'step {name!r}' for name in steps)}"
    if not call.started:
        message += f" of waiting for a thread: all {threads.total_tokens:g} are busy"
    return Failure(message, timed_out=True)


class _Call:
    """A task's function with its arguments, called once."""

    def __init__(
        self, task: Task, ctx: Context, arguments: list[object], threads: trio.CapacityLimiter
    ) -> None:
        self.started = False
        self._task = task
        self._ctx = ctx
        self._arguments = arguments
        self._threads = threads

    async def perform(self) -> object:
        if self._task.is_async:
            return _no_coroutine(await cast("Awaitable[object]", self._begin()))
        return await in_thread(lambda: _no_coroutine(self._begin()), self._threads)

    def _begin(self) -> object:
        self.started = True
        return self._task.function(self._ctx, *self._arguments)


def _no_coroutine(value: object) -> object:
    if inspect.iscoroutine(value):
        value.close()
        raise Permanent("the task returned a coroutine: is an await missing, or an async hidden?")
    return value


async def _outcome(call: _Call, ctx: Context) -> Result | Failure:
    try:
        return _result(await call.perform())
    except GeneratorExit as error:
        return _failure(error)  # without a checkpoint: it may be this coroutine that is closed
    except BaseException as error:  # noqa: ASYNC103, BLE001 - see the theory of operation
        return await _failed(error, ctx)  # noqa: ASYNC102, ASYNC104 - it raises a real Cancelled


async def _failed(error: BaseException, ctx: Context) -> Failure:
    """Return the failure, unless the attempt was cancelled: then that is what happened.

    Whether it was is asked of trio: a task can let out a Cancelled of a scope of its own.
    """
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
    except trio.Cancelled:
        if not all(type(each) is trio.Cancelled for each in leaves(error)):
            ctx.log.warning("task failed while it was interrupted", exc_info=error)
        raise
    return _failure(error)


def _failure(error: BaseException) -> Failure:
    """Tell a failure in words for a person."""
    try:
        return _told(error)
    except BaseException:  # noqa: ASYNC103, BLE001 - its type, members or seconds may raise anything
        said = f"{name_of(error)}: cannot be shown"
        return Failure(said, exception=error)  # noqa: ASYNC104 - as above


def _told(error: BaseException) -> Failure:
    """Ask an exception what it has to say; of a group, the gravest member decides what follows."""
    errors = list(leaves(error))
    named = "; ".join(_words(each) for each in islice(errors, _ERRORS_NAMED))
    more = len(errors) - _ERRORS_NAMED
    waits = [_wait_seconds(each) for each in errors if isinstance(each, RetryAfter)]
    return Failure(
        named if more <= 0 else f"{named}; and {more} more",
        permanent=any(isinstance(each, Permanent) for each in errors),
        retry_after=max((wait for wait in waits if wait is not None), default=None),
        exception=error,
    )


def _words(error: BaseException) -> str:
    """Say what happened, and, as its notes tell, in which step."""
    kind = type(error).__name__
    try:
        said, notes = str(error), [str(note) for note in getattr(error, "__notes__", ())]
    except BaseException:  # noqa: ASYNC103, BLE001 - what cannot say what it is still has a name
        said, notes = "", []
    spoken = said and isinstance(error, Permanent | RetryAfter | StepTimeout)
    words = said if spoken else f"{kind}: {said}" if said else kind
    where = "".join(f" ({note[:_NOTE_MAX]})" for note in notes[:_NOTES])
    return f"{words[:_MESSAGE_MAX]}{where}".encode("utf-8", "backslashreplace").decode()


def _wait_seconds(error: RetryAfter) -> float | None:
    """Return the wait within bounds; None, the usual backoff, for what is no number."""
    try:
        seconds = float(error.seconds)
    except OverflowError:
        return RETRY_AFTER_MAX_SECONDS
    except (TypeError, ValueError):
        return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_SECONDS)


def _result(value: object) -> Result | Failure:
    own = type(value) is Result  # a subclass might not stand by what it said
    result = cast("Result", value) if own else ok(cast("Json", value))  # encoding will tell
    if fault := _fault(result.status, result.message):
        return Failure(fault, permanent=True)
    try:
        size = len(result.encoded.encode())
    except NotJson as error:
        return Failure(_not_json(result), permanent=True, exception=error)
    if size > RESULT_MAX_BYTES:
        return Failure(
            f"the result is {size:,} bytes of JSON, more than {RESULT_MAX_BYTES:,}", permanent=True
        )
    return result


def _fault(status: object, message: object) -> str | None:
    """Name what a result made by hand cannot hold."""
    if status not in {"ok", "error"}:
        return f"the result's status is {status!r}, not ok or error"
    if not (message is None or isinstance(message, str)):
        return f"the result's message is {type(message).__name__}, not text"
    return None


def _not_json(result: Result) -> str:
    try:
        encode(result.data)
    except NotJson as error:
        return f"the result is not JSON: {error}"
    return "the result's message is not text: it has a lone surrogate"
