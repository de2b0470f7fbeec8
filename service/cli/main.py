"""The commands, and what becomes of their errors.

A command is imported when it is called: `service runs` starts quickly, and `service run` obeys
SIGTERM before the slow imports begin.
"""

import os
import signal
import sys
from importlib import import_module
from typing import Final

import click

from service.core.errors import ConfigError, StoreBroken, StoreRefused
from service.core.wire import is_unicode
from service.garbage import expect_no_garbage

__all__ = ["EX_CONFIG", "EX_INTERRUPTED", "EX_STORE", "EX_UNAVAILABLE", "main"]

EX_UNAVAILABLE: Final = 69
"""Nothing could be asked: no service, and no store."""

EX_STORE: Final = 74
"""The database file was refused, and is as it was, or its damage came to light."""

EX_CONFIG: Final = 78
"""Settings, tasks or schedules are wrong."""

EX_INTERRUPTED: Final = 130
"""Ctrl-C before the end, as shells tell it: 128 and the number of SIGINT."""

_COMMANDS: Final = {
    "backup": "service.cli.saving:backup",
    "cancel": "service.cli.running:cancel",
    "check": "service.cli.checking:check",
    "completion": "service.cli.completing:completion",
    "cron": "service.cli.cron:cron",
    "next": "service.cli.cron:next_ticks",
    "pause": "service.cli.pausing:pause",
    "prune": "service.cli.saving:prune",
    "resume": "service.cli.pausing:resume",
    "retry": "service.cli.running:retry",
    "runs": "service.cli.reading:runs",
    "show": "service.cli.reading:show",
    "stats": "service.cli.watching:stats",
    "top": "service.cli.watching:top",
    "trigger": "service.cli.running:trigger",
    "verify": "service.cli.cron:verify",
}
"""Where each command stands, but for `run`, which stands here."""


class _Commands(click.Group):
    """Imports the command that is called, and ends a known error with an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: object = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse what no command can look for, store, or send to the service."""
        for word in args:
            if not (ctx.resilient_parsing or is_unicode(word)):  # resilient: a shell completes
                raise click.UsageError(f"{word!r} is not UTF-8, as an argument has to be")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Call the command; the codes are those of sysexits.h."""
        from service.client import Unreachable
        from service.protocol import Refusal

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _complain(error)
            ctx.exit(EX_CONFIG)
        except Unreachable as error:
            _complain(error)
            ctx.exit(EX_UNAVAILABLE)
        except Refusal as error:
            _complain(error)
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(EX_INTERRUPTED)
        except StoreBroken as error:
            click.echo(f"service: the store is damaged: {error}; restore a backup", err=True)
            ctx.exit(EX_STORE)
        except StoreRefused as error:
            _complain(error)
            sys.stdout.flush()
            os._exit(EX_STORE)  # the file stays as it was: see service.storage.opening


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cron-webhook-service", prog_name="service")
def main() -> None:
    """Run tasks on a cron schedule or when a webhook asks, and remember every run.

    Exit codes: 0 done, 1 not so, 2 wrong usage, 69 nothing to ask, 70 crashed, 74 database
    refused, 78 wrong configuration, 130 interrupted by Ctrl-C.
    """


@main.command()
def run() -> None:
    """Run the service until SIGTERM or SIGINT; a second signal stops it at once.

    Exit codes: 0 stopped, 70 crashed, 74 database refused, 78 wrong configuration.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # as PID 1 they would have no effect yet
        signal.signal(number, lambda *_: os._exit(0))
    expect_no_garbage()
    from service.cli.serving import run_service

    sys.exit(run_service(os.environ))


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        click.echo(f"service: {line}", err=True)
