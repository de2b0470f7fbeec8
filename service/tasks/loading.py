"""What the service has to do: the built-in tasks, the owner's tasks and the owner's cron jobs."""

import importlib
from collections.abc import Mapping, Sequence
from traceback import walk_tb
from types import ModuleType

import attrs

from service.core.cronjob import CronJob
from service.core.errors import ConfigError
from service.core.limits import Limits
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
    module = _imported(jobs_module)
    tasks = {task.id: task for task in REGISTRY}
    cron_jobs = _cron_jobs(module)
    for place, job in cron_jobs.items():
        try:
            _check(job, tasks, default_timezone)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
    return Workload(tasks, tuple(cron_jobs.values()))


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            hint = "is it installed, or its folder in PYTHONPATH?"
            raise ConfigError(f"JOBS_MODULE: there is no module {name!r}; {hint}") from error
        place = _line_of_owner(name, error)
        said = " ".join(str(error).split())
        raise ConfigError(f"{place}: cannot be imported: {type(error).__name__}: {said}") from error


def _line_of_owner(name: str, error: BaseException) -> str:
    """Return the last place in the owner's code that the error came through."""
    place = name
    for frame, line in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module == name or module.startswith(f"{name.partition('.')[0]}."):
            place = f"{frame.f_code.co_filename}:{line}"
    return place


def _cron_jobs(module: ModuleType) -> dict[str, CronJob]:
    """Return the module's cron jobs by the place where each stands."""
    listed: object = getattr(module, "CRON_JOBS", [])
    if not isinstance(listed, list | tuple):
        raise ConfigError(
            f"{module.__name__}: CRON_JOBS is {type(listed).__name__}, not a list of CronJob"
        )
    places: dict[str, CronJob] = {}
    ids: dict[str, str] = {}
    for index, job in enumerate(listed):
        place = f"{module.__name__}: CRON_JOBS[{index}]"
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
