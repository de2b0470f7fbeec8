"""`service run`: from the environment to a running house, and its exit code."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import trio

from service.actors.control import open_control_socket
from service.observability.logs import get_logger, logging_to
from service.observability.sentry import capture_crash
from service.observability.telemetry import telemetry
from service.serving import listen
from service.settings import RunStore, Settings, read_settings
from service.storage.database import Database
from service.supervisor import House, supervise
from service.tasks.loading import load
from service.watchdog import hard_exit_after

__all__ = ["EX_CRASHED", "run_service"]

EX_CRASHED: Final = 70
STDOUT: Final = 1

log = get_logger("service")


def run_service(environ: Mapping[str, str]) -> int:
    """Run the service until it is stopped; return the exit code.

    Raises ConfigError or StoreRefused when it cannot start.
    """
    settings = read_settings(environ)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    with (
        logging_to(STDOUT, level=settings.log_level, format=settings.log_format),
        telemetry(settings),
    ):
        return _run(settings)


def _run(settings: Settings) -> int:
    workload = load(settings.jobs_module, settings.cron_timezone)
    in_file = settings.run_store is RunStore.SQLITE
    database = Database.open(settings.run_store_sqlite_path if in_file else None)
    with open_control_socket(settings.control_socket) as control:
        house = House(
            settings=settings,
            workload=workload,
            database=database,
            listener=listen(settings.host, settings.port),
            control=control,
            now=partial(datetime.now, UTC),
            hard_exit_after=hard_exit_after,
        )
        try:
            trio.run(supervise, house)
        except Exception as error:  # whatever crashed, the log says it and the exit code tells
            log.exception("the service crashed")
            capture_crash(error)
            return EX_CRASHED
    return 0
