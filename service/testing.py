"""Test a task as the service would run it: in a few lines, and in no time.

    from service import ok
    from service.testing import FakeHttp, in_turn, reply, run_task

    def test_the_summary_waits_for_github() -> None:
        github = FakeHttp({
            "GET https://api.github.com/repos/a/b": in_turn(
                reply(429, headers={"retry-after": "600"}), {"stars": 5}
            ),
        })
        run = run_task(summary, {"repo": "a/b"}, http=github)
        assert run.result == ok({"stars": 5})
        assert run.seconds >= 600

The payload is checked as at the webhook; attempts are retried, pauses are slept and servers' waits
are kept to, all on a virtual clock, so that a week takes milliseconds. What steps returned is
remembered from attempt to attempt; `crash_after` lets the service die in between.
"""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

import attrs
import httpx
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.core.backoff import delay_seconds
from service.core.results import Result
from service.core.run import Done, Failure, Suspended, Trigger, after_attempt
from service.core.wire import Json, decode, encode
from service.observability.logs import get_logger
from service.settings import Settings
from service.tasks.context import Context
from service.tasks.execution import attempt
from service.tasks.outbound import Outbound
from service.tasks.registry import REGISTRY, Registry
from service.tasks.task import Task
from service.tasks.workspace import Workspace

__all__ = ["FakeHttp", "Performed", "in_turn", "reply", "run_task"]

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When a run begins on the virtual clock, unless the test says otherwise."""

LIVES_MAX: Final = 1_000
"""So often a run may be put back before it is taken for endless."""

THREADS: Final = 40
THREAD_SECONDS: Final = 0.5
"""A thread that takes longer, in real time, is taken to wait for the loop, such as for a sleep."""

_SETTINGS: Final = Settings()

Answer: TypeAlias = "Json | httpx.Response | Exception | Callable[[httpx.Request], object]"
"""JSON for a 200 that holds it; a response; an exception to raise; or what makes one of these."""


def reply(
    status: int, json: object = None, *, headers: Mapping[str, str] | None = None, text: str = ""
) -> httpx.Response:
    """Return an answer with a status, headers, and JSON or text."""
    if json is None:
        return httpx.Response(status, headers=headers, text=text)
    return httpx.Response(status, headers=headers, json=json)


@attrs.frozen
class _InTurn:
    answers: Sequence[object]


def in_turn(*answers: object) -> _InTurn:
    """Return answers that are given one after the other, the last again and again."""
    if not answers:
        raise ValueError("in_turn: takes at least one answer")
    return _InTurn(answers)


@attrs.define(eq=False)
class FakeHttp:
    """Answers of other services, by method and address: ``"GET https://host/path"``.

    A key without a query answers any query. A request without an answer fails the test.
    """

    _answers: Mapping[str, object]
    requests: list[httpx.Request] = attrs.field(factory=list, init=False)
    """What was asked, in order, each try of its own."""
    unexpected: list[str] = attrs.field(factory=list, init=False)
    _counts: dict[str, int] = attrs.field(factory=dict, init=False)

    def count(self, key: str) -> int:
        """Return how often the answer under `key` was asked for."""
        if key not in self._answers:
            raise KeyError(key)
        return self._counts.get(key, 0)

    def outbound(self) -> Outbound:
        """Return what gives a context this fake for its `ctx.http`."""
        return Outbound(lambda: httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(
            httpx.Request(
                request.method, request.url, headers=request.headers, content=request.content
            )
        )
        whole = f"{request.method} {request.url}"
        key = whole if whole in self._answers else whole.partition("?")[0]
        if key not in self._answers:
            self.unexpected.append(whole)
            raise AssertionError(f"the fake has no answer to {whole}")
        number = self._counts[key] = self._counts.get(key, 0) + 1
        answer = self._answers[key]
        if isinstance(answer, _InTurn):
            answer = answer.answers[min(number, len(answer.answers)) - 1]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            answer = httpx.Response(200, json=answer)
        body = httpx.ByteStream(answer.content)  # a response made with content counts as read
        return httpx.Response(answer.status_code, headers=answer.headers, stream=body)


@attrs.frozen(kw_only=True)
class Performed:
    """A run that has ended."""

    result: Result
    """What the run store would hold."""
    exception: BaseException | None
    """What the last attempt raised."""
    attempts: int
    """Attempts that the task had to answer for: pauses and crashes are none."""
    seconds: float
    """From its beginning to its end, waits included, on the virtual clock."""
    steps: Mapping[str, Json]
    """What its steps returned."""


def run_task(  # noqa: PLR0913 - what a test may want otherwise
    function: object,
    payload: object = None,
    *,
    http: FakeHttp | None = None,
    crash_after: Collection[str] = (),
    trigger: Trigger = Trigger.WEBHOOK,
    start: datetime = START,
    registry: Registry = REGISTRY,
) -> Performed:
    """Run the task that `function` is, to its end, as the service would; return what came of it.

    After each step that `crash_after` names the service dies, once, and starts again. Raises
    AssertionError if the fake was asked what it has no answer to.
    """
    task = next((task for task in registry if task.function is function), None)
    if task is None:
        raise ValueError(f"{function!r} is no task: it needs @task(...)")
    fake = FakeHttp({}) if http is None else http
    clock = MockClock()
    house = _House(task, decode(encode(payload)), fake, set(crash_after), trigger, start, clock)
    performed = trio.run(house.perform, clock=clock)
    if fake.unexpected:
        raise AssertionError(f"the fake has no answer to {', '.join(fake.unexpected)}")
    if house.crash_after:
        raise AssertionError(f"there was no step {', '.join(sorted(house.crash_after))}")
    return performed


@attrs.define(eq=False)
class _House:
    """A service that has one run, and no store but a dictionary."""

    task: Task
    payload: Json
    fake: FakeHttp
    crash_after: set[str]
    trigger: Trigger
    start: datetime
    clock: MockClock
    notes: dict[str, str] = attrs.field(factory=dict)
    power: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    threads: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(THREADS))
    work: Workspace | None = None

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.clock.current_time())  # also from a thread

    async def read(self) -> Mapping[str, str]:
        """Be the notebook of the run."""
        await trio.lowlevel.checkpoint()
        return self.notes

    async def write(self, name: str, result: str) -> None:
        """Be the notebook of the run, until the power is cut."""
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
        if self.power.cancel_called:
            await trio.lowlevel.checkpoint()
        self.notes[name] = result
        if name in self.crash_after:
            self.crash_after.remove(name)
            self.power.cancel()
            await trio.lowlevel.checkpoint()

    async def perform(self) -> Performed:
        async with trio.open_nursery() as nursery, self.fake.outbound() as outbound:
            nursery.start_soon(self._let_time_pass)
            performed = await self._to_its_end(outbound)
            nursery.cancel_scope.cancel()
        return performed

    async def _to_its_end(self, outbound: Outbound) -> Performed:
        number = 1
        for _ in range(LIVES_MAX):
            outcome = await self._live(number, outbound)
            if isinstance(outcome, Suspended):
                wait = (outcome.due_at - self.now()) / timedelta(seconds=1)
                await trio.sleep(max(wait, 0))
            elif outcome is not None:
                verdict = after_attempt(
                    outcome,
                    attempt=number,
                    max_attempts=self.task.retries + 1,
                    backoff=self._backoff(number),
                )
                if isinstance(verdict, Done):
                    return Performed(
                        result=verdict.result,
                        exception=outcome.exception if isinstance(outcome, Failure) else None,
                        attempts=number,
                        seconds=trio.current_time(),
                        steps={name: decode(text) for name, text in self.notes.items()},
                    )
                number += 1
                await trio.sleep(verdict.delay)
        raise AssertionError(f"the run was put back {LIVES_MAX} times and has not ended")

    async def _live(self, number: int, outbound: Outbound) -> Result | Failure | Suspended | None:
        """Perform an attempt; None if the service died."""
        log = get_logger(f"task.{self.task.id}")
        self.work = Workspace(
            log=log,
            notebook=self,
            threads=self.threads,
            step_timeout_seconds=_SETTINGS.step_timeout_seconds,
            now=self.now,
            outbound=outbound,
        )
        context = Context(
            run_id="run-1",
            job_id=self.task.id,
            attempt=number,
            max_attempts=self.task.retries + 1,
            trigger=self.trigger,
            tick=self.start if self.trigger is Trigger.CRON else None,
            log=log,
            workspace=self.work,
        )
        seconds = self.task.timeout
        with trio.CancelScope() as self.power:
            return await attempt(
                self.task,
                context,
                self.payload,
                timeout_seconds=_SETTINGS.task_timeout_seconds if seconds is None else seconds,
                threads=self.threads,
            )
        return None

    def _backoff(self, number: int) -> float:
        task = self.task
        base, longest = task.retry_base_seconds, task.retry_max_seconds
        return delay_seconds(
            number,
            base=_SETTINGS.retry_base_seconds if base is None else base,
            maximum=_SETTINGS.retry_max_seconds if longest is None else longest,
            chance=0,
        )

    async def _let_time_pass(self) -> None:
        """Jump to the next deadline whenever all wait; threads and programs really take time."""
        busy_until = None
        while True:
            await wait_all_tasks_blocked(0.001)
            wait = trio.lowlevel.current_statistics().seconds_to_next_deadline
            busy_until = self._busy_until(busy_until)
            if busy_until is None and 0 <= wait < math.inf:
                self.clock.jump(wait)
            else:
                await trio.to_thread.run_sync(time.sleep, 0.001)

    def _busy_until(self, before: float | None) -> float | None:
        """Return until when, in real time, to wait for threads and programs; None if for none."""
        programs = 0 if self.work is None else self.work.programs
        if not (self.threads.borrowed_tokens or programs):
            return None
        now = time.monotonic()
        until = now + THREAD_SECONDS if before is None else before
        return until if now < until or programs else None
