"""A step: part of a task that is bounded, retried, and done once for all attempts of its run."""

import inspect
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count
from typing import Final, TypeAlias, cast

import attrs
import trio

from service.core.backoff import delay_seconds
from service.core.errors import leaves
from service.core.results import Permanent, RetryAfter
from service.core.wire import Json, decode
from service.observability.exceptions import name_of
from service.observability.traces import current_span, step_span
from service.tasks.arguments import check_name, check_seconds
from service.tasks.threads import in_thread
from service.tasks.workspace import HOLD_SECONDS, Workspace

__all__ = ["RetryOn", "Step", "StepTimeout", "perform", "sleep"]

RetryOn: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"
"""What is tried again: types of exceptions, or a function that tells."""

WAIT_SECONDS: Final = 0.5
"""Before the first retry, doubling each time up to `HOLD_SECONDS`, and up to a second of chance."""


class StepTimeout(TimeoutError):
    """A step took longer than it may."""


@attrs.frozen(kw_only=True)
class Step:
    """What is to be done under which name, and how often; `timeout` is in seconds, for each try."""

    name: str
    call: Callable[[], object]
    is_async: bool
    timeout: float | None
    retries: int
    retry_on: RetryOn


async def perform(step: Step, work: Workspace) -> Json:
    """Return the step's result: as an earlier attempt recorded it, or from doing it now."""
    work.take_name(step.name)
    recorded = (await work.records()).get(step.name)
    if recorded is not None:
        work.log.debug("step was done before", step=step.name)
        return decode(recorded)
    began_at = trio.current_time()
    work.underway.append(step.name)
    with step_span(step.name):
        try:
            result = await work.record(step.name, await _result(step, work))
        except Exception as error:
            work.log.warning("step failed", **_facts(step, began_at), error=name_of(error))
            raise
        finally:
            work.leave(step.name)
    work.log.info("step done", **_facts(step, began_at))
    return decode(result)


def _facts(step: Step, began_at: float) -> dict[str, object]:
    milliseconds = (trio.current_time() - began_at) * 1000
    return {"step": step.name, "duration_ms": round(milliseconds, 3)}


async def _result(step: Step, work: Workspace) -> object:
    try:
        return await _tries(step, work)
    except StepTimeout:
        raise  # it says where it was
    except Exception as error:
        _note(error, f"in step {step.name!r}")
        raise


def _note(error: Exception, note: str) -> None:
    for each in leaves(error):
        with suppress(AttributeError):  # a frozen one takes no note
            each.add_note(note)


async def _tries(step: Step, work: Workspace) -> object:
    for retries in count():
        try:
            return await _try(step, work)
        except Exception as error:
            if retries == step.retries or not _is_retried(step.retry_on, error):
                raise
        await trio.sleep(_wait_seconds(retries + 1))
        current_span().note("step.retries", retries + 1)
        work.log.info("step is tried again", step=step.name, attempt_of_step=retries + 2)
    raise AssertionError  # pragma: no cover - it counts for ever


def _wait_seconds(retries: int) -> float:
    wait = delay_seconds(retries, base=WAIT_SECONDS, maximum=HOLD_SECONDS, chance=0.0)
    return min(wait + random.random(), HOLD_SECONDS)  # noqa: S311 - spreads tries, guards nothing


def _is_retried(retry_on: RetryOn, error: Exception) -> bool:
    """Tell whether to try again; what the task says about the whole run is not for a step.

    Of a group, which is what a nursery raises, each member has to be of `retry_on`.
    """
    causes = list(leaves(error))
    if any(isinstance(each, Permanent | RetryAfter) for each in causes):
        return False
    if isinstance(retry_on, type | tuple):
        return isinstance(error, retry_on) or all(isinstance(each, retry_on) for each in causes)
    return retry_on(error)


async def _try(step: Step, work: Workspace) -> object:
    seconds = work.step_timeout_seconds if step.timeout is None else step.timeout
    with trio.move_on_after(seconds):
        return await _call(step, work)
    raise StepTimeout(f"step {step.name!r} timed out after {seconds:g} s")


async def _call(step: Step, work: Workspace) -> object:
    if step.is_async:
        return await cast("Awaitable[object]", step.call())
    value = await in_thread(step.call, work.threads)
    return await value if inspect.isawaitable(value) else value


async def sleep(seconds: float, name: str | None, work: Workspace) -> None:
    """Wait `seconds` of the wall clock, in the runner or out of it."""
    check_seconds(seconds)
    if name is not None:
        check_name(name)
    work.pauses += 1
    if seconds <= HOLD_SECONDS:
        await trio.sleep(seconds)
        return
    name = f"sleep {work.pauses}" if name is None else name
    work.take_name(name)
    recorded = (await work.records()).get(name)
    if recorded is None:
        until = work.now() + timedelta(seconds=seconds)
        await work.record(name, until.isoformat())
    else:
        until = datetime.fromisoformat(str(decode(recorded)))
    await work.pause(until)
