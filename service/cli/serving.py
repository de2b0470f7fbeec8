"""`service run`: from the environment to a running house, and its exit code."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

import outcome
import trio

from service.actors.control import open_control_socket
from service.garbage import expect_garbage
from service.house import House, Trades
from service.monitoring import monitors_of
from service.observability.exceptions import flattened
from service.observability.logs import get_logger, logging_to
from service.observability.sentry import capture_crash
from service.observability.telemetry import telemetry
from service.serving import listen
from service.settings import Settings, read_settings
from service.storage.database import Database
from service.supervisor import supervise
from service.tasks.loading import load
from service.watchdog import Watchdog

__all__ = ["EX_CRASHED", "run_service"]

EX_CRASHED: Final = 70
STDOUT: Final = 1

log = get_logger("service")


def run_service(environ: Mapping[str, str], trades: Trades | None = None) -> int:
    """Run the service until it is stopped; return the exit code.

    Raises ConfigError or StoreRefused when it cannot start.
    """
    settings = read_settings(environ)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    with ExitStack() as stack:
        stack.enter_context(
            logging_to(STDOUT, level=settings.log_level, format=settings.log_format)
        )
        return _run(settings, trades or Trades(), stack)


def _run(settings: Settings, trades: Trades, stack: ExitStack) -> int:
    workload = load(settings.jobs_module, settings.cron_timezone)
    database = Database.open(settings.store_file)
    monitors = monitors_of(settings, workload)
    stack.enter_context(telemetry(settings, monitors))  # after all that could refuse the start
    watchdog = Watchdog()

    def ended(ending: outcome.Outcome[None]) -> int:
        exit_code = _exit_code(ending)
        watchdog.nothing_is_left_but(exit_code)
        return exit_code

    def leave(ending: outcome.Outcome[None]) -> NoReturn:
        exit_code = ended(ending)
        stack.close()
        os._exit(exit_code)

    house = House(
        settings=settings,
        workload=workload,
        database=database,
        control=stack.enter_context(open_control_socket(settings.control_socket)),
        listener=listen(settings.host, settings.port),  # last: who reaches it reaches all of it
        now=partial(datetime.now, UTC),
        hard_exit_after=watchdog.end_within,
        leave=leave,
    )
    expect_garbage()
    return ended(outcome.capture(trio.run, supervise, house, trades))


def _exit_code(ending: outcome.Outcome[None]) -> int:
    try:
        ending.unwrap()
    except BaseException as error:  # noqa: ASYNC103, BLE001 - whatever crashed, log and exit code tell it
        cause = flattened(error)
    else:
        return 0
    log.error("the service crashed", exc_info=cause)
    capture_crash(cause)
    return EX_CRASHED
