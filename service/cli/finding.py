"""From what an operator types to the run or the task that is meant."""

import sys
from pathlib import Path
from typing import Final

import click

from service.client import Unreachable, ask, ask_service
from service.messages import FindRuns, ListTasks
from service.settings import Settings
from service.tasks.loading import Workload, load

__all__ = ["known_task", "no_run", "task_ids", "whole_id", "workload_of"]

_NAMED_MAX: Final = 5


def whole_id(settings: Settings, given: str) -> str:
    """Return the one id that begins with `given`. Raises ClickException if it is not one."""
    found = ask(settings, FindRuns(given, _NAMED_MAX)) if given else ()
    if not found:
        raise no_run(given)
    if len(found) > 1 and found[0] != given:
        listed = "\n".join(f"  {run_id}" for run_id in found)
        more = "" if len(found) < _NAMED_MAX else ", among them"
        raise click.ClickException(
            f"several runs have an id that begins with {given!r}{more}:\n{listed}\ngive more of it"
        )
    return found[0]


def known_task(settings: Settings, given: str) -> None:
    """Raise ClickException, which names those there are, unless a task is called so."""
    tasks = task_ids(settings)
    if given not in tasks:
        raise click.ClickException(f"there is no task {given!r}, only {', '.join(tasks)}")


def task_ids(settings: Settings) -> tuple[str, ...]:
    """Name the tasks of the running service; if there is none, those that it would have."""
    try:
        return ask_service(settings, ListTasks())
    except Unreachable:
        return tuple(sorted(workload_of(settings).tasks))


def workload_of(settings: Settings) -> Workload:
    """Load what the service has to do. Raises ConfigError."""
    sys.path.insert(0, str(Path.cwd()))  # as the service does
    return load(settings.jobs_module, settings.cron_timezone)


def no_run(given: str) -> click.ClickException:
    """Return the error that says so, and where to look."""
    return click.ClickException(f"there is no run {given!r}; `service runs` lists those there are")
