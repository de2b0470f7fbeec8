"""What the service has to do: the built-in tasks, the owner's tasks and the owner's cron jobs."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from types import ModuleType

import attrs

from service.core.cronjob import CronJob
from service.core.errors import ConfigError
from service.core.limits import Limits
from service.observability.exceptions import message_of, name_of
from service.tasks.payloads import PayloadError, structure
from service.tasks.registry import REGISTRY
from service.tasks.task import Task

__all__ = ["Workload", "load"]


@attrs.frozen
class Workload:
    """Every task by its id, and the cron jobs in the order of their owner."""

    tasks: Mapping[str, Task]
    cron_jobs: Sequence[CronJob]

    @property
    def limits(self) -> Mapping[str, Limits]:
        """What each task may take of the runners."""
        return {task.id: task.limits for task in self.tasks.values()}


def load(jobs_module: str, default_timezone: str) -> Workload:
    """Import the built-in tasks and `jobs_module`, and check that all of it fits together.

    Raises ConfigError, one line that names the place, for whatever could not run later.
    """
    importlib.import_module("service.tasks.builtin")
    with _owners_code(jobs_module, "cannot be imported"):
        module = _imported(jobs_module)
    tasks = {task.id: task for task in REGISTRY}
    with _owners_code(jobs_module, "CRON_JOBS cannot be read"):
        cron_jobs = _cron_jobs(jobs_module, getattr(module, "CRON_JOBS", []))
        for place, job in cron_jobs.items():
            try:
                _check(job, tasks, default_timezone)
            except ValueError as error:
                raise ConfigError(f"{place}: {error}") from None
    return Workload(tasks, tuple(cron_jobs.values()))


@contextmanager
def _owners_code(module: str, fault: str) -> Iterator[None]:
    """Make a ConfigError of whatever the owner's code raises, but for what Ctrl-C does."""
    try:
        yield
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"{fault}: {name_of(error)}: {' '.join(message_of(error).split())}"
        line = f"{_line_of_owner(module)}: {said}"
        raise ConfigError(line) from error  # noqa: ASYNC104 - at the start, none is a cancellation


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        hint = "is it installed, or its folder in PYTHONPATH?"
        raise ConfigError(f"JOBS_MODULE: there is no module {name!r}; {hint}") from error


def _line_of_owner(name: str) -> str:
    """Return the last place in the owner's code that the error being handled came through."""
    place = name
    for frame, line in walk_tb(sys.exc_info()[2]):  # an error may lie of its own traceback
        module = str(frame.f_globals.get("__name__"))
        if module == name or module.startswith(f"{name.partition('.')[0]}."):
            place = f"{frame.f_code.co_filename}:{line}"
    return place


def _cron_jobs(module: str, listed: object) -> dict[str, CronJob]:
    """Return the module's cron jobs by the place where each stands."""
    if not isinstance(listed, list | tuple):
        raise ConfigError(f"{module}: CRON_JOBS is {type(listed).__name__}, not a list of CronJob")
    places: dict[str, CronJob] = {}
    ids: dict[str, str] = {}
    for index, job in enumerate(listed):
        place = f"{module}: CRON_JOBS[{index}]"
        if not isinstance(job, CronJob):
            raise ConfigError(f"{place} is {type(job).__name__}, not a CronJob")
        if job.id in ids:
            raise ConfigError(f"{place}: cron job {job.id!r} is already listed at {ids[job.id]}")
        ids[job.id] = place
        places[place] = job
    return places


def _check(job: CronJob, tasks: Mapping[str, Task], default_timezone: str) -> None:
    job.compiled(default_timezone=default_timezone)
    task = tasks.get(job.job_id)
    if task is None:
        known = ", ".join(sorted(tasks))
        raise ValueError(f"cron job {job.id!r}: there is no task {job.job_id!r}, only {known}")
    try:
        structure(task, job.payload)
    except PayloadError as error:
        raise ValueError(f"cron job {job.id!r}: {error}") from None
