"""What a task passes wrongly is refused in words: what it was, where, and what is accepted."""

import math
from datetime import timedelta
from functools import partial
from typing import Final

import pytest
import trio

from service import Context, Permanent
from service.core.run import Trigger
from service.messages import Headway
from service.observability.logs import get_logger
from service.tasks.workspace import Workspace


async def fetch(page: int = 1) -> int:
    await trio.lowlevel.checkpoint()
    return page


def context(workspace: Workspace | None = None) -> Context:
    return Context(
        run_id="r1",
        job_id="greet",
        attempt=1,
        max_attempts=4,
        trigger=Trigger.MANUAL,
        tick=None,
        log=get_logger("task.greet"),
        workspace=workspace or Workspace(),
    )


GIVEN: Final = "takes a function and its arguments, and was given"
SECONDS: Final = "is not a number of seconds above 0"
TIMES: Final = "is not a whole number from 0 to 100"
KINDS: Final = "is no exception type, tuple of them, or function"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"timeout": "soon"}, f"timeout: 'soon' {SECONDS}"),
        ({"timeout": 0}, f"timeout: 0 {SECONDS}"),
        ({"timeout": -1.5}, f"timeout: -1.5 {SECONDS}"),
        ({"timeout": math.nan}, f"timeout: nan {SECONDS}"),
        ({"timeout": True}, f"timeout: True {SECONDS}"),
        ({"retries": -1}, f"retries: -1 {TIMES}"),
        ({"retries": 1.0}, f"retries: 1.0 {TIMES}"),
        ({"retries": 101}, f"retries: 101 {TIMES}"),
        ({"retry_on": None}, f"retry_on: None {KINDS}"),
        ({"retry_on": [OSError]}, f"retry_on: [<class 'OSError'>] {KINDS}"),
        ({"retry_on": (OSError, "x")}, f"retry_on: (<class 'OSError'>, 'x') {KINDS}"),
        ({"retry_on": int}, f"retry_on: <class 'int'> {KINDS}"),
    ],
)
async def test_a_steps_options_are_checked_before_it_begins(
    options: dict[str, object], fault: str
) -> None:
    """An option that cannot be meant ends the run, for the next attempt would give the same."""
    calls: list[None] = []
    with pytest.raises(Permanent) as refused:
        await context().step("a", calls.append, None, **options)  # type: ignore[call-overload]
    assert str(refused.value) == f"step 'a': {fault}"
    assert not calls


async def test_a_step_wants_the_function_and_not_its_call() -> None:
    """The likeliest slip is named, and leaves no coroutine behind that warns of itself."""
    problem = r"^step 'a': takes a function and its arguments, fetch, …, and was given fetch\(…\)$"
    with pytest.raises(Permanent, match=problem):
        await context().step("a", fetch(1))  # type: ignore[call-overload]
    with pytest.raises(Permanent, match=f"^step 'a': {GIVEN} None$"):
        await context().step("a", None)  # type: ignore[call-overload]
    with pytest.raises(Permanent, match=rf"^step 'a': {GIVEN} 'x{{127}}…$"):
        await context().step("a", "x" * 10_000)  # type: ignore[call-overload]


async def test_a_step_wants_its_name_first() -> None:
    """A forgotten name is named, and one that is too long is not repeated in full."""
    with pytest.raises(Permanent, match=r'name, as in ctx.step\("fetch", .* not with <function'):
        await context().step(fetch, 1)  # type: ignore[call-overload]
    with pytest.raises(Permanent, match=r"^step 'x{127}…: a name is a text of 1 to 128 printable"):
        await context().step("x" * 10_000, fetch)
    with pytest.raises(Permanent, match=r"^step '': a name is a text"):
        await context().sleep(60, name="")


@pytest.mark.parametrize("seconds", ["5", None, timedelta(seconds=5), True, math.nan, -1])
async def test_a_sleep_is_a_number_of_seconds(seconds: object) -> None:
    """What no clock could wait for is shown."""
    with pytest.raises(
        ValueError, match=r"^sleep: .* is not a number of seconds from 0 to a year$"
    ):
        await context().sleep(seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [math.nan, math.inf, 10**400, "half", None])
def test_progress_is_in_numbers_that_can_be_shown(number: object) -> None:
    """What would break a display is refused where it is said."""
    with pytest.raises(ValueError, match=r"^progress: done: .* is not a number within 1e"):
        context().progress(number)  # type: ignore[arg-type]
    if number is not None:
        with pytest.raises(ValueError, match=r"^progress: total: .* is not a number within 1e"):
            context().progress(1, number)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^progress: note: 5 is not text$"):
        context().progress(1, 2, 5)  # type: ignore[arg-type]


def test_more_can_be_done_than_there_was() -> None:
    """An estimate may be too low; that is no error."""
    told: list[Headway] = []
    context(Workspace(note_headway=told.append)).progress(5, 3, "over")
    assert [(headway.done, headway.total) for headway in told] == [(5, 3)]


def test_a_note_cannot_break_a_display() -> None:
    """What a terminal would obey, and what is no Unicode, is shown as such, and all is bounded."""
    told: list[Headway] = []
    context(Workspace(note_headway=told.append)).progress(1, 2, "é\x1b[31m\n\ud800" + "x" * 1000)
    assert [headway.note for headway in told] == ["é�[31m��" + "x" * 492]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("git log", "'git log' is not a list of a program and its arguments"),
        ([], r"\[\] is not a list of a program and its arguments"),
        (["sleep", 1], r"command\[1\]: 1 is not text"),
    ],
)
async def test_a_command_is_a_list(command: object, fault: str) -> None:
    """A line for a shell is not taken for a program whose name has one letter."""
    with pytest.raises((TypeError, ValueError), match=rf"^run_process: {fault}"):
        await context().run_process(command)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^run_process: stdin is str, not bytes$"):
        await context().run_process(["cat"], stdin="text")  # type: ignore[arg-type]


async def test_a_bound_of_output_is_one() -> None:
    """A number below 0 would bound nothing."""
    with pytest.raises(ValueError, match="max_bytes: -1 is not a number of bytes"):
        await context().run_process(["true"], max_bytes=-1)


@pytest.mark.parametrize(
    ("bounds", "fault"),
    [
        ({"timeout": "5"}, "timeout: '5' is not a number of seconds above 0"),
        ({"timeout": -1}, "timeout: -1 is not a number of seconds above 0"),
        ({"retries": 1.5}, "retries: 1.5 is not a whole number from 0 to 100"),
        ({"max_bytes": -1}, "max_bytes: -1 is not a number of bytes"),
    ],
)
async def test_a_request_has_bounds(bounds: dict[str, object], fault: str) -> None:
    """What would bound no request is refused before it is made."""
    with pytest.raises(ValueError, match=f"^request: {fault}"):
        await context().http.request("GET", "http://localhost:9", **bounds)  # type: ignore[arg-type]


class Client:
    """What a step may call, in all its shapes."""

    async def ask(self, page: int) -> int:
        return await fetch(page)

    async def __call__(self, page: int) -> int:
        return await fetch(page)

    @staticmethod
    async def static(page: int) -> int:
        return await fetch(page)


async def test_whatever_can_be_called_can_be_a_step() -> None:
    """Methods, partials, lambdas, classes and objects are functions, too."""
    ctx, client = context(), Client()
    assert [
        await ctx.step("method", client.ask, 1),
        await ctx.step("object", client, 2),
        await ctx.step("static", client.static, 3),
        await ctx.step("partial", partial(client.ask, page=4)),
        await ctx.step("lambda", lambda: client.ask(5)),
        await ctx.step("class", int, "6"),
        await ctx.step("built in", len, "seven.."),
        await ctx.step("default", fetch),
    ] == [1, 2, 3, 4, 5, 6, 7, 1]
