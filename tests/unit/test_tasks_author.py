"""What an author imports from the service, and what the built-in tasks show."""

import os
import subprocess
import sys

import attrs
import pytest
import trio

import service
from service.core.cronjob import CronJob
from service.core.results import Permanent, Result, RetryAfter, error, ok
from service.core.run import Trigger
from service.observability.logs import get_logger
from service.tasks import builtin
from service.tasks.context import Context
from service.tasks.http import HttpError
from service.tasks.registry import Registry, task

CTX = Context(
    run_id="r1",
    job_id="echo",
    attempt=2,
    max_attempts=4,
    trigger=Trigger.CRON,
    tick=None,
    log=get_logger("task.echo"),
)


def test_an_author_imports_nine_names_and_nothing_else() -> None:
    """The package exports what it says, and each name is the real thing."""
    named = [Context, CronJob, HttpError, Permanent, Result, RetryAfter, error, ok, task]
    assert [getattr(service, name) for name in service.__all__] == named


def test_another_name_is_a_plain_attribute_error() -> None:
    """A typing mistake gets Python's usual answer."""
    with pytest.raises(AttributeError, match="module 'service' has no attribute 'Contxt'"):
        _ = service.Contxt  # type: ignore[attr-defined] # wrong on purpose


def test_importing_the_package_takes_no_time() -> None:
    """No library is loaded before a signal handler could be in place."""
    code = "import sys, service; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    modules = loaded.stdout.decode().split()
    assert not {"attrs", "cattrs", "trio", "structlog", "croniter"} & set(modules)


def test_a_start_loads_only_what_it_needs() -> None:
    """Clients and what sends telemetry wait until there is something for them."""
    code = """
import os, sys
import service.cli.serving
from service.observability.telemetry import telemetry
from service.settings import read_settings

nowhere = "http://127.0.0.1:9"
with telemetry(read_settings({"OTLP_ENDPOINT": nowhere, "OTLP_METRICS_ENDPOINT": nowhere})):
    print(*sys.modules, flush=True)
    os._exit(0)
"""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, check=True
    )
    modules = loaded.stdout.decode().split()
    assert {"opentelemetry.sdk.trace", "opentelemetry.sdk.metrics"} <= set(modules)
    assert not {
        "croniter",
        "google.protobuf",
        "httpx",
        "requests",
        "sentry_sdk",
        "urllib3",
    } & set(modules)


def test_a_command_that_reads_loads_nothing_that_runs() -> None:
    """`service runs` answers at once: it imports no loop, no scheduler, no log."""
    code = "import sys, service.cli.reading; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    modules = loaded.stdout.decode().split()
    assert not {"trio", "croniter", "structlog", "stamina", "opentelemetry"} & set(modules)


async def test_echo_returns_its_payload() -> None:
    """The task to try the service with gives back what it got."""
    assert await builtin.echo(CTX, {"a": [1]}) == {"a": [1]}


async def test_heartbeat_tells_which_attempt_it_was() -> None:
    """A heartbeat's result says who asked for it."""
    assert await builtin.heartbeat(CTX) == {"alive": True, "trigger": "cron", "attempt": 2}


async def test_types_pass_through_the_decorator() -> None:
    """A task is called and checked like the function that it is; mypy reads this test too."""

    @attrs.frozen
    class Greet:
        name: str

    async def greet(ctx: Context, payload: Greet) -> dict[str, int]:
        await trio.lowlevel.checkpoint()
        return {payload.name: ctx.attempt}

    same = Registry().task("greet")(greet)
    greeted: dict[str, int] = await same(CTX, Greet("Ada"))
    assert greeted == {"Ada": 2}
