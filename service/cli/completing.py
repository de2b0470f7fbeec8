"""`service completion`, and what a shell offers behind a command."""

import os

import click
from click.shell_completion import get_completion_class

from service.cli.finding import task_ids
from service.client import Unreachable, ask
from service.core.errors import ConfigError, StoreRefused
from service.core.wire import is_unicode
from service.messages import FindRuns
from service.protocol import Refusal
from service.settings import read_settings

__all__ = ["completion", "job_argument", "optional_job_argument", "run_argument"]

_OFFERED_MAX = 50


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a SHELL complete commands, options, jobs and runs.

    Such as: service completion bash > /etc/bash_completion.d/service
    """
    script = get_completion_class(shell)
    if script is None:  # pragma: no cover - click knows these three
        raise click.ClickException(f"click knows no completion for {shell}")
    click.echo(script(ctx.find_root().command, {}, "service", "_SERVICE_COMPLETE").source())


def _jobs(_ctx: click.Context, _param: click.Parameter, given: str) -> list[str]:
    try:
        tasks = task_ids(read_settings(os.environ))
    except (ConfigError, Refusal):
        return []  # a shell in the middle of a word is no place for it
    return [task for task in tasks if task.startswith(given)]


def _runs(_ctx: click.Context, _param: click.Parameter, given: str) -> list[str]:
    if not is_unicode(given):
        return []
    try:
        found = ask(read_settings(os.environ), FindRuns(given, _OFFERED_MAX))
    except (ConfigError, Refusal, StoreRefused, Unreachable):
        return []  # as above
    return list(found)


job_argument = click.argument("job_id", metavar="JOB", shell_complete=_jobs)
optional_job_argument = click.argument(
    "job_id", metavar="JOB", required=False, shell_complete=_jobs
)
run_argument = click.argument("run_id", metavar="RUN", shell_complete=_runs)
