"""How both examples ask GitHub."""

import os

import httpx

from service import Context


async def ask(ctx: Context, path: str, **params: str) -> httpx.Response:
    """Return GitHub's answer; a token in the environment raises its limits."""
    api = os.environ.get("GITHUB_API", "https://api.github.com")
    headers = {"accept": "application/vnd.github+json"}
    if token := os.environ.get("GITHUB_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    return await ctx.http.get(f"{api}{path}", params=params, headers=headers)
