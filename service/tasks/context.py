"""What a task is told about the attempt that it is, and what it can do with it."""

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar, TypeVarTuple, overload

import attrs
import trio

from service.core.run import Trigger
from service.observability.logs import Logger
from service.tasks import processes, steps
from service.tasks.arguments import check_command, check_headway, check_step
from service.tasks.http import Http
from service.tasks.processes import OUTPUT_MAX_BYTES, Finished
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
        `retry_on`, exception types or a function that tells, says so; a timeout is a TimeoutError,
        and of an exception group every member has to be of these types.
        None is the default, because the run itself is retried, and finished steps are not.

        Raises what `function` raised last, with a note of the step; Permanent for a name that was
        used, for arguments that no step can have, and for a result that cannot be kept. Cancelled
        means that the step is not kept, unless it had finished.
        """
        check_step(name, function, timeout=timeout, retries=retries, retry_on=retry_on)
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

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Say how far the task is: ``ctx.progress(3, 10, "fetching")``; as often as it likes.

        ``service show`` has the latest, and the log one in ten seconds and the last. It is kept in
        memory, so it costs next to nothing. A plain ``def`` task may call it too.

        Raises ValueError for what is no finite number, and TypeError for a note that is no text.
        """
        check_headway(done, total, note)
        self.workspace.tell_headway(done, total, note)

    async def run_process(  # noqa: PLR0913 - what a program is started with
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        max_bytes: int = OUTPUT_MAX_BYTES,
    ) -> Finished:
        """Run a program, without a shell, and return its code and what it wrote.

        `env` is added to the service's own environment. Of stdout and of stderr `max_bytes` are
        kept each, as UTF-8 with bad bytes replaced; the rest is read and dropped. What it returns
        is JSON, so it can be a step, which also bounds its time:
        ``await ctx.step("clone", ctx.run_process, ["git", "clone", url], timeout=60)``.

        Raises ProcessError for any other code than 0, unless `check` is off, OSError if it cannot
        be started, and ValueError or TypeError for a command that is none. When it is cancelled,
        also by a timeout or a stop of the service, the program and whatever it has started are
        ended: by SIGTERM, and SIGKILL a moment later. Only what has made itself a session of its
        own, as daemons do, goes on.
        """
        check_command(command, stdin, max_bytes)
        self.workspace.programs += 1
        try:
            return await processes.run_process(
                command, stdin=stdin, cwd=cwd, env=env, check=check, max_bytes=max_bytes
            )
        finally:
            self.workspace.programs -= 1

    def check_cancelled(self) -> None:
        """Leave a plain ``def`` task whose time is over: call it now and then in a long loop.

        Raises Cancelled, to be let through, when the attempt was cancelled or has timed out.
        Without it the thread goes on, unheard, until it ends by itself.
        """
        trio.from_thread.check_cancelled()
