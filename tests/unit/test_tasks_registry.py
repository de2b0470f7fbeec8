"""`@task` registers what can work, and says where and why something cannot."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from service.core.errors import ConfigError
from service.tasks.context import Context
from service.tasks.registry import Registry
from service.tasks.task import RETRIES, Task

if TYPE_CHECKING:
    from collections import OrderedDict as Unimportable

    from service.tasks.context import Context as Unseen


@attrs.frozen
class Greet:
    """A typed payload."""

    name: str


def only(registry: Registry) -> Task:
    (task,) = registry
    return task


def here(offset: int) -> str:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno + offset}"


def test_a_function_becomes_a_task_and_stays_what_it_is() -> None:
    """The decorated function is the same object; its task knows what it takes and where it is."""
    registry = Registry()
    place = here(2)

    async def greet(ctx: Context, payload: Greet) -> str:
        await trio.lowlevel.checkpoint()
        return ctx.run_id + payload.name

    assert registry.task("greet", timeout=30, retries=5)(greet) is greet
    task = only(registry)
    assert task == Task(
        id="greet",
        function=task.function,
        place=place,
        is_async=True,
        takes_payload=True,
        payload_type=Greet,
        timeout=30,
        retries=5,
    )
    assert task.function is greet


def test_what_is_not_given_is_left_to_the_service() -> None:
    """Three retries are the documented default; durations come from the settings."""
    registry = Registry()

    @registry.task("tick")
    def tick(ctx: Context) -> None: ...

    task = only(registry)
    assert (task.is_async, task.takes_payload, task.retries) == (False, False, RETRIES)
    assert (task.timeout, task.retry_base_seconds, task.retry_max_seconds) == (None, None, None)
    assert tick.__name__ == "tick"


def test_an_untyped_payload_takes_any_json() -> None:
    """Without an annotation a payload is passed as it is."""
    registry = Registry()
    registry.task("any")(lambda _ctx, _payload: None)
    assert only(registry).payload_type is object


def test_only_the_payload_annotation_must_exist_at_run_time() -> None:
    """What was imported for the type checker alone does not stop a task from registering."""
    registry = Registry()

    @registry.task("quoted")
    def quoted(_: "Unseen", payload: "Greet") -> "Unimportable[str, str]":
        raise AssertionError(payload)

    assert only(registry).payload_type is Greet
    assert quoted is only(registry).function


def test_a_wrapped_function_stands_where_it_was_written() -> None:
    """A decorator in between neither hides the place nor the signature."""
    registry = Registry()

    def plain(ctx: Context, payload: Greet) -> str:
        return ctx.run_id + payload.name

    @functools.wraps(plain)
    def wrapper(ctx: Context, payload: Greet) -> str:
        return plain(ctx, payload)

    registry.task("wrapped")(wrapper)
    assert only(registry).place == here(-8)
    assert only(registry).payload_type is Greet


def test_two_tasks_of_one_id_name_both_places() -> None:
    """The second is refused, and the line leads to both."""
    registry = Registry()
    registry.task("twice")(lambda _: None)
    first = here(-1)
    with pytest.raises(ConfigError) as refused:
        registry.task("twice")(lambda _: 1)
    assert str(refused.value) == f"{here(-1)}: task 'twice' is already registered at {first}"
    assert only(registry).place == first


def test_a_module_that_is_imported_anew_replaces_its_tasks() -> None:
    """The same id at the same place is the same task, as after a reload."""
    registry = Registry()

    def imported() -> Callable[[Context], object]:
        @registry.task("again")
        def again(ctx: Context) -> None: ...

        return again

    assert imported() is not (again := imported())
    assert only(registry).function is again


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"id": ""}, "its id is not a text of 1 to 128 printable characters"),
        ({"id": "a\nb"}, "its id is not a text of 1 to 128 printable characters"),
        ({"id": "x" * 129}, "its id is not a text of 1 to 128 printable characters"),
        ({"timeout": 0}, "timeout: 0 is not a number of seconds from 0.001 to 604800"),
        ({"timeout": float("nan")}, "timeout: nan is not a number of seconds"),
        ({"timeout": True}, "timeout: True is not a number of seconds"),
        ({"timeout": "30"}, "timeout: '30' is not a number of seconds"),
        ({"retries": -1}, "retries: -1 is not a whole number from 0 to 100"),
        ({"retries": 2.5}, "retries: 2.5 is not a whole number from 0 to 100"),
        ({"retries": None}, "retries: None is not a whole number from 0 to 100"),
        ({"retry_base_seconds": -1}, "retry_base_seconds: -1 is not a number of seconds"),
        ({"retry_max_seconds": 1e9}, "retry_max_seconds: 1000000000.0 is not a number of seconds"),
    ],
)
def test_a_wrong_option_is_named_with_its_place(options: dict[str, object], fault: str) -> None:
    """The line says which option of which task, where, what it held and what it may hold."""
    registry = Registry()
    named = {"id": "greet", **options}
    with pytest.raises(ConfigError) as refused:
        registry.task(**named)(lambda _: None)  # type: ignore[arg-type] # wrong on purpose
    assert str(refused.value).startswith(f"{here(-1)}: task {named['id']!r}: {fault}")
    assert not list(registry)


def test_a_task_without_an_id_is_told_how_to_write_it() -> None:
    """A forgotten pair of parentheses is refused at once, not ignored."""

    def greet(ctx: Context) -> None: ...

    with pytest.raises(ConfigError) as refused:
        Registry().task(greet)  # type: ignore[arg-type] # wrong on purpose
    assert str(refused.value) == f'{here(-4)}: a task needs an id: write @task("greet")'


def nothing() -> None: ...


def three(ctx: Context, payload: Greet, more: int) -> None: ...


def spread(ctx: Context, *payloads: Greet) -> None: ...


def keyword(ctx: Context, *, payload: Greet) -> None: ...


def optional(ctx: Context, payload: Greet | None = None) -> None: ...


def contextless(payload: Greet) -> None: ...


def yielding(ctx: Context) -> Iterator[str]:
    yield ctx.run_id


async def streaming(ctx: Context) -> AsyncIterator[str]:  # noqa: ASYNC900 - refused for it
    await trio.lowlevel.checkpoint()
    yield ctx.run_id
    await trio.lowlevel.checkpoint()


def binary(ctx: Context, payload: bytes) -> None: ...


def deep(ctx: Context, payload: dict[str, list[bytes]]) -> None: ...


def unresolved(ctx: Context, payload: "Unimportable[str, str]") -> None: ...


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (nothing, "a task is a function of (ctx) or (ctx, payload), and this one takes nothing"),
        (three, "a task is a function of (ctx) or (ctx, payload), and this one takes 3"),
        (spread, "*payloads"),
        (keyword, "payload: tests.unit.test_tasks_registry.Greet is neither"),
        (optional, "= None is neither"),
        (contextless, "its first parameter is a Context, not payload: "),
        (yielding, "this one yields"),
        (streaming, "this one yields"),
        (Greet, "not type"),
        (functools.partial(three, more=1), "not partial"),
        (binary, "its payload: bytes cannot be read from JSON: bytes has no form in JSON"),
        (deep, "cannot be read from JSON: bytes has no form in JSON"),
        (unresolved, "cannot be read from JSON: name 'Unimportable' is not defined"),
    ],
)
def test_a_function_that_cannot_be_a_task_is_refused(
    function: Callable[[Context], object], fault: str
) -> None:
    """The refusal comes where the task is written, not when the first run fails."""
    with pytest.raises(ConfigError, match="task 'wrong': ") as refused:
        Registry().task("wrong")(function)
    assert fault in str(refused.value)
    assert str(refused.value).isprintable()
