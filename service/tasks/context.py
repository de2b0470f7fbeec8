"""What a task is told about the attempt that it is, and what it can do with it."""

import inspect
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeVar, TypeVarTuple, overload

import attrs

from service.core.run import Trigger
from service.observability.logs import Logger
from service.tasks import steps
from service.tasks.http import Http
from service.tasks.steps import RetryOn, Step
from service.tasks.workspace import Workspace

__all__ = ["Context"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@attrs.frozen(kw_only=True)
class Context:
    """One attempt of one run, as its task sees it.

    Its coroutines are for the event loop: a plain ``def`` task, which runs in a thread, reaches
    them with ``trio.from_thread.run(ctx.sleep, 60)``.
    """

    run_id: str
    job_id: str
    attempt: int
    """1 is the first."""
    max_attempts: int
    trigger: Trigger
    tick: datetime | None
    """The nominal time of a cron run, in UTC; None for every other run."""
    log: Logger
    """Every line carries the run's id, its job, its trigger and the attempt."""
    workspace: Workspace = attrs.field(factory=Workspace, eq=False, repr=False)
    """The service's side of the attempt: nothing that a task needs."""

    @property
    def http(self) -> Http:
        """Requests to other services: bounded, traced, and retried as their servers ask."""
        return Http(self.workspace)

    @overload
    async def step(
        self,
        name: str,
        function: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - of one try, which a caller cannot bound
        retries: int = 0,
        retry_on: RetryOn = Exception,
    ) -> T: ...

    @overload
    async def step(
        self,
        name: str,
        function: Callable[[*Ts], T],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - of one try, which a caller cannot bound
        retries: int = 0,
        retry_on: RetryOn = Exception,
    ) -> T: ...

    async def step(
        self,
        name: str,
        function: Callable[[*Ts], object],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - of one try, which a caller cannot bound
        retries: int = 0,
        retry_on: RetryOn = Exception,
    ) -> object:
        """Return ``function(*args)``, done once for all attempts of this run.

        The result is kept with the run before the step returns. When a later attempt comes to the
        step, after a failure, a crash or a restart, it gets what was kept, and `function` is not
        called. So a result is JSON, of 1 MiB at most, and what is returned is always what JSON
        makes of it: a tuple comes back as a list, the first time too. A step that was interrupted
        before it had finished is done again.

        The `name` tells the steps of a run apart, so each is used once:
        ``ctx.step(f"fetch {repo}", fetch, repo)`` in a loop. Steps may run side by side in a
        nursery. A plain `function` runs in a thread.

        Each try may take `timeout` seconds (None is the service's STEP_TIMEOUT_SECONDS). Up to
        `retries` further tries follow in this attempt, after half a second, a second, ..., when
        `retry_on`, exception types or a function that tells, says so; a timeout is a TimeoutError.
        None is the default, because the run itself is retried, and finished steps are not.

        Raises what `function` raised last; Permanent for a name that was used, and for a result
        that cannot be kept. Cancelled means that the step is not kept, unless it had finished.
        """
        kept = Step(
            name=name,
            call=partial(function, *args),
            is_async=inspect.iscoroutinefunction(function),
            timeout=timeout,
            retries=retries,
            retry_on=retry_on,
        )
        return await steps.perform(kept, self.workspace)

    async def sleep(self, seconds: float, *, name: str | None = None) -> None:
        """Wait for so many seconds, without holding a runner if they are more than a few (5).

        The run then goes back to the queue, and the task is called again when they have passed:
        finished steps and sleeps return at once. What else the attempt is doing is cancelled after
        a second. A restart makes the wait no longer, and no attempt is used up.

        Sleeps are kept under ``sleep 1``, ``sleep 2``, ... in the order in which they begin; give a
        `name` to those that begin side by side.
        """
        await steps.sleep(seconds, name, self.workspace)
