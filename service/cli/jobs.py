"""From what an operator types to the task that is meant."""

import os
import sys
from pathlib import Path

import click

from service.client import Unreachable, ask_service
from service.core.errors import ConfigError
from service.messages import ListTasks
from service.protocol import Refusal
from service.settings import Settings, read_settings
from service.tasks.loading import Workload, load

__all__ = ["job_argument", "known_task", "optional_job_argument", "workload_of"]


def known_task(settings: Settings, given: str) -> None:
    """Raise ClickException, which names those there are, unless a task is called so."""
    tasks = _task_ids(settings)
    if given not in tasks:
        raise click.ClickException(f"there is no task {given!r}, only {', '.join(tasks)}")


def workload_of(settings: Settings) -> Workload:
    """Load what the service has to do. Raises ConfigError."""
    sys.path.insert(0, str(Path.cwd()))  # as the service does
    return load(settings.jobs_module, settings.cron_timezone)


def _task_ids(settings: Settings) -> tuple[str, ...]:
    """Name the tasks of the running service; if there is none, those that it would have."""
    try:
        return ask_service(settings, ListTasks())
    except Unreachable:
        return tuple(sorted(workload_of(settings).tasks))


def _offered(_ctx: click.Context, _param: click.Parameter, given: str) -> list[str]:
    try:
        tasks = _task_ids(read_settings(os.environ))
    except (ConfigError, Refusal):
        return []  # a shell in the middle of a word is no place for it
    return [task for task in tasks if task.startswith(given)]


job_argument = click.argument("job_id", metavar="JOB", shell_complete=_offered)
optional_job_argument = click.argument(
    "job_id", metavar="JOB", required=False, shell_complete=_offered
)
