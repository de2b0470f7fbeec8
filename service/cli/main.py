"""The commands, their options, and what becomes of their errors.

What a command needs is imported when it is called: `service runs` starts quickly, and `service run`
obeys SIGTERM before the slow imports begin.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from service.cli.times import instant, span
from service.core.errors import ConfigError, StoreRefused
from service.core.run import Status, Trigger
from service.settings import Settings, read_settings

__all__ = ["EX_CONFIG", "EX_STORE", "EX_UNAVAILABLE", "main"]

EX_UNAVAILABLE: Final = 69
"""Nothing could be asked: no service, and no store."""

EX_STORE: Final = 74
"""The database file was refused; it is as it was."""

EX_CONFIG: Final = 78
"""Settings, tasks or schedules are wrong."""


def _words(choices: type[Status | Trigger]) -> list[str]:
    return [choice.value for choice in choices]  # click would take the names


class _Explained(click.Group):
    """A group whose commands end a known error with its message and an exit code of sysexits.h."""

    def invoke(self, ctx: click.Context) -> object:
        from service.client import Unreachable

        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _complain(error)
            ctx.exit(EX_CONFIG)
        except Unreachable as error:
            _complain(error)
            ctx.exit(EX_UNAVAILABLE)
        except StoreRefused as error:
            _complain(error)
            sys.stdout.flush()
            os._exit(EX_STORE)  # the file stays as it was: see service.storage.database


@click.group(cls=_Explained, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cron-webhook-service", prog_name="service")
def main() -> None:
    """Run tasks on a cron schedule or when a webhook asks, and remember every run."""


@main.command()
def run() -> None:
    """Run the service until SIGTERM or SIGINT; a second signal stops it at once.

    Exit codes: 0 stopped, 70 crashed, 74 database refused, 78 wrong configuration.
    """
    for number in (signal.SIGTERM, signal.SIGINT):  # as PID 1 they would have no effect yet
        signal.signal(number, lambda *_: os._exit(0))
    from service.cli.serving import run_service

    sys.exit(run_service(os.environ))


@main.command()
def check() -> None:
    """Show the settings in force, the tasks, and the cron jobs with their next ticks.

    Exits with 78 and a line for each fault if the service would refuse to start.
    """
    from service.cli.checking import check_configuration

    check_configuration(os.environ, datetime.now(UTC))


@main.command()
@click.option("--job-id", help="Only runs of this task.")
@click.option("--status", type=click.Choice(_words(Status)), help="Only runs that stand so.")
@click.option("--trigger", type=click.Choice(_words(Trigger)), help="Only runs asked for so.")
@click.option("--since", type=span, help="Only runs created since, such as 90s, 2h or 7d ago.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def runs(  # noqa: PLR0913 - one parameter an option
    *,
    job_id: str | None,
    status: str | None,
    trigger: str | None,
    since: timedelta | None,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first."""
    from service.cli.reading import list_runs
    from service.messages import RunFilter

    wanted = RunFilter(
        job_id=job_id,
        status=None if status is None else Status(status),
        trigger=None if trigger is None else Trigger(trigger),
        since=None if since is None else datetime.now(UTC) - since,
        limit=limit,
    )
    list_runs(_settings(), wanted, as_json=as_json)


@main.command()
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(run_id: str, *, as_json: bool) -> None:
    """Show one run."""
    from service.cli.reading import show_run

    show_run(_settings(), run_id, as_json=as_json)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def cron(*, as_json: bool) -> None:
    """List the cron jobs: how the last tick ended, and the next ones."""
    from service.cli.cron import list_cron_jobs

    list_cron_jobs(_settings(), datetime.now(UTC), as_json=as_json)


@main.command("next")
@click.argument("expression")
@click.option("--tz", default="UTC", show_default=True, help="IANA zone of the expression.")
@click.option("--from", "start", type=instant, help="RFC 3339; in the zone if it names none.")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of instants in UTC.")
def next_ticks(
    expression: str, *, tz: str, start: datetime | None, count: int, as_json: bool
) -> None:
    """Show when a cron EXPRESSION ticks next."""
    from service.cli.cron import print_next

    try:
        print_next(expression, tz, start or datetime.now(UTC), count, as_json=as_json)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option("--since", type=span, default="30d", show_default=True, help="How far to look back.")
def verify(*, since: timedelta) -> None:
    """Prove that every tick has exactly one record; exits with 1 if one has not."""
    from service.cli.cron import verify as agree

    now = datetime.now(UTC)
    if not agree(_settings(), now - since, now):
        sys.exit(1)


def _settings() -> Settings:
    return read_settings(os.environ)


def _complain(error: Exception) -> None:
    for line in str(error).splitlines():
        click.echo(f"service: {line}", err=True)
