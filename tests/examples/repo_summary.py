"""A weekly summary of repositories: what was merged, what was released, what is discussed.

Every question to GitHub is a step. When GitHub fails, limits us for an hour, or the service is
restarted in the middle, the questions that were answered are not asked again.
"""

from datetime import UTC, datetime, timedelta
from typing import TypedDict

import attrs

from service import Context, CronJob, task
from tests.examples.github_api import ask

WEEK = timedelta(days=7)


@attrs.frozen
class Wanted:
    """The repositories, as owner/name."""

    repos: list[str]


class Week(TypedDict):
    """What happened to a repository: titles, newest first."""

    merged: list[str]
    released: list[str]
    discussed: list[str]


@task("repo-summary", timeout=300, retries=5)
async def repo_summary(ctx: Context, payload: Wanted) -> dict[str, Week]:
    """Return what happened to each repository in the week before."""
    since = await ctx.step("since", a_week_before, ctx.tick)
    summary: dict[str, Week] = {}
    for number, repo in enumerate(payload.repos):
        ctx.progress(number, len(payload.repos), repo)
        summary[repo] = {
            "merged": await ctx.step(f"merged in {repo}", merged, ctx, repo, since),
            "released": await ctx.step(f"released of {repo}", released, ctx, repo, since),
            "discussed": await ctx.step(f"discussed in {repo}", discussed, ctx, repo, since),
        }
    return summary


async def a_week_before(tick: datetime | None) -> str:
    """Return where the week begins; as a step, so that every attempt means the same week."""
    return ((tick or datetime.now(UTC)) - WEEK).strftime("%Y-%m-%dT%H:%M:%SZ")


async def merged(ctx: Context, repo: str, since: str) -> list[str]:
    """Return the pull requests that were merged."""
    answer = await ask(
        ctx, f"/repos/{repo}/pulls", state="closed", sort="updated", direction="desc"
    )
    pulls: list[dict[str, str | None]] = answer.json()
    return [str(pull["title"]) for pull in pulls if (pull["merged_at"] or "") >= since]


async def released(ctx: Context, repo: str, since: str) -> list[str]:
    """Return the releases."""
    releases: list[dict[str, str]] = (await ask(ctx, f"/repos/{repo}/releases")).json()
    return [each["name"] for each in releases if each["published_at"] >= since]


async def discussed(ctx: Context, repo: str, since: str) -> list[str]:
    """Return the issues that something was said about."""
    issues: list[dict[str, str]] = (await ask(ctx, f"/repos/{repo}/issues", since=since)).json()
    return [issue["title"] for issue in issues]


CRON_JOBS = [
    CronJob(
        id="monday-summary",
        schedule="0 8 * * mon",
        job_id="repo-summary",
        payload={"repos": ["python-trio/trio"]},
        timezone="Europe/Berlin",
    ),
]
