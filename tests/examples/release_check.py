"""Is a release complete? Three questions, asked side by side, and one verdict.

A missing file or a failed check is a verdict, not a failure: it is not retried. That GitHub does
not answer is a failure, and then only the questions without an answer are asked again.
"""

from typing import TypedDict

import attrs
import trio

from service import Context, HttpError, Result, error, ok, task
from tests.examples.github_api import ask


@attrs.frozen
class Release:
    """A tag of a repository, and the files that its release is to have."""

    repo: str
    tag: str
    files: list[str]


@task("release-check", timeout=120, retries=3)
async def release_check(ctx: Context, payload: Release) -> Result:
    """Return ok if the release is complete, else an error that lists what it lacks."""
    problems: list[str] = []

    async def look_at_page() -> None:
        page = await ctx.step("page", page_of, ctx, payload)
        if not page["notes"].strip():
            problems.append("it has no notes")
        problems.extend(f"{file} is missing" for file in payload.files if file not in page["files"])

    async def look_at_checks() -> None:
        failed = await ctx.step("checks", failed_checks, ctx, payload)
        problems.extend(f"check {name} has not succeeded" for name in failed)

    async def look_for_changelog() -> None:
        if not await ctx.step("changelog", has_changelog, ctx, payload):
            problems.append("there is no CHANGELOG.md")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look_at_page)
        nursery.start_soon(look_at_checks)
        nursery.start_soon(look_for_changelog)
    if problems:
        return error(f"{payload.repo} {payload.tag} is not complete", [*sorted(problems)])
    return ok(message=f"{payload.repo} {payload.tag} is complete")


class Page(TypedDict):
    """What a release shows."""

    notes: str
    files: list[str]


async def page_of(ctx: Context, release: Release) -> Page:
    """Return the release's page."""
    page = (await ask(ctx, f"/repos/{release.repo}/releases/tags/{release.tag}")).json()
    return {"notes": page["body"] or "", "files": [asset["name"] for asset in page["assets"]]}


async def failed_checks(ctx: Context, release: Release) -> list[str]:
    """Return the checks of the tagged commit that have not succeeded."""
    checks = (await ask(ctx, f"/repos/{release.repo}/commits/{release.tag}/check-runs")).json()
    return [run["name"] for run in checks["check_runs"] if run["conclusion"] != "success"]


async def has_changelog(ctx: Context, release: Release) -> bool:
    """Tell whether the tag has a changelog."""
    try:
        await ask(ctx, f"/repos/{release.repo}/contents/CHANGELOG.md", ref=release.tag)
    except HttpError as problem:
        if problem.status == 404:
            return False
        raise
    return True
