"""Types pass through `@task` and `ctx.step` without a cast; what is wrong is an error of mypy.

These tests hold when mypy reads them: `assert_type` is its business, and an ignored error that is
none would be one. They are also run, so that what is typed is what happens.
"""

from functools import partial
from typing import assert_type

import attrs
import pytest
import trio

from service import Context, ok
from service.tasks.registry import Registry
from service.testing import run_task
from tests.examples.release_check import Page, Release, failed_checks, has_changelog, page_of
from tests.examples.repo_summary import Wanted, Week, repo_summary

REGISTRY = Registry()


@attrs.frozen
class Greet:
    """A typed payload."""

    name: str


async def length(text: str, factor: int = 1) -> int:
    await trio.lowlevel.checkpoint()
    return len(text) * factor


def shout(text: str) -> str:
    return text.upper()


class Client:
    async def names(self, page: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [f"name {page}"]


@REGISTRY.task("typed")
async def typed(ctx: Context, payload: Greet) -> dict[str, int]:
    assert_type(await ctx.step("async", length, payload.name), int)
    assert_type(await ctx.step("default given", length, payload.name, 2), int)
    assert_type(await ctx.step("plain", shout, payload.name), str)
    assert_type(await ctx.step("method", Client().names, 1), list[str])
    assert_type(await ctx.step("partial", partial(length, "ab", factor=2)), int)
    assert_type(await ctx.step("lambda", lambda: length("ab")), int)
    assert_type((await ctx.step("program", ctx.run_process, ["true"]))["stdout"], str)
    return {payload.name: await ctx.step("last", length, payload.name, retry_on=(OSError,))}


def test_what_a_step_returns_is_known() -> None:
    """Functions of all shapes keep their types, and do what their types say."""
    assert run_task(typed, {"name": "Ada"}, registry=REGISTRY).result == ok({"Ada": 3})


async def _in_the_examples(ctx: Context, release: Release) -> None:
    """Payloads and results of the complete examples are typed throughout."""
    assert_type(await repo_summary(ctx, Wanted(["a/b"])), dict[str, Week])
    assert_type(await ctx.step("page", page_of, ctx, release), Page)
    assert_type(await ctx.step("checks", failed_checks, ctx, release), list[str])
    assert_type(await ctx.step("changelog", has_changelog, ctx, release), bool)


async def _with_mistakes(ctx: Context) -> None:
    """Each line is an error of mypy, or its comment would be one."""
    await typed(ctx, {"name": "Ada"})  # type: ignore[arg-type]
    await typed(ctx)  # type: ignore[call-arg]
    await ctx.step("wrong type", length, 5)  # type: ignore[arg-type]
    await ctx.step("no argument", shout)  # type: ignore[call-arg, arg-type]
    await ctx.step("one too many", shout, "a", "b")  # type: ignore[call-arg, arg-type]
    await ctx.step("called", length("a"))  # type: ignore[call-overload]
    await ctx.step(length, "no name")  # type: ignore[call-overload]
    await ctx.step("option", length, "a", timout=5)  # type: ignore[call-overload]
    await ctx.step("kind", length, "a", retry_on=[OSError])  # type: ignore[call-overload]
    text: str = await ctx.step("result", length, "a")  # type: ignore[arg-type]
    ctx.progress(text)  # type: ignore[arg-type]
    await ctx.sleep("5")  # type: ignore[arg-type]
    await ctx.http.get("https://a.test/", timeout=None)  # type: ignore[arg-type]


def test_only_a_task_is_a_task() -> None:
    """What cannot take a context is an error of mypy, and one at the start."""
    with pytest.raises(Exception, match="its first parameter is a Context"):

        @REGISTRY.task("wrong")  # type: ignore[type-var]
        def wrong(payload: Greet) -> None:
            """Forget the context."""
