"""Tasks that every installation has: to try the service out, and to see that it lives."""

import trio

from service.core.wire import Json
from service.tasks.context import Context
from service.tasks.registry import task

__all__ = ["echo", "heartbeat"]


@task("echo")
async def echo(ctx: Context, payload: Json) -> Json:  # noqa: ARG001 - a task's signature
    """Return the payload."""
    await trio.lowlevel.checkpoint()
    return payload


@task("heartbeat", timeout=10, retries=0)
async def heartbeat(ctx: Context) -> dict[str, Json]:
    """Say that runs are performed: what came due is claimed, run and remembered."""
    await trio.lowlevel.checkpoint()
    return {"alive": True, "trigger": ctx.trigger, "attempt": ctx.attempt}
