"""All telemetry besides logs: set up once, ended within a bound.

What sends it is imported when it is wanted: the libraries take long to load.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Final

from service.observability.export import bounded, turned_off
from service.observability.logs import get_logger
from service.observability.monitors import Monitor
from service.settings import Settings

__all__ = ["telemetry"]

END_SECONDS: Final = 1.0
NONE: Final[Mapping[str, Monitor]] = MappingProxyType({})

log = get_logger("service.telemetry")


@contextmanager
def telemetry(settings: Settings, monitors: Mapping[str, Monitor] = NONE) -> Iterator[None]:
    """Send traces, metrics and errors where `settings` says; enter it within `logging_to`.

    `monitors`, of cron jobs by their id, are told to Sentry where it is told anything.

    Leaving sends what is left, for `END_SECONDS` at most, whatever becomes of the collectors.
    """
    with ExitStack() as undo:
        ends = []
        if settings.sentry_dsn is None:
            log.info("errors are not sent to Sentry: SENTRY_DSN is not set")
        else:
            from service.observability.sentry_client import start_sentry

            ends.append(start_sentry(settings.sentry_dsn, monitors, undo))
        if not turned_off("TRACES"):
            with _left_out_if_refused("traces"):
                from service.observability.otlp import start_traces

                ends.append(start_traces(settings.otlp_endpoint, undo))
        if settings.otlp_metrics_endpoint is not None and not turned_off("METRICS"):
            with _left_out_if_refused("metrics"):
                from service.observability.otlp import start_metrics

                ends.append(start_metrics(settings.otlp_metrics_endpoint, undo))
        try:
            yield
        finally:
            if not bounded(*ends, seconds=END_SECONDS):
                log.warning("not all telemetry could be sent in time", seconds=END_SECONDS)
                undo.pop_all()  # what still tries to send is heard until the process has ended


@contextmanager
def _left_out_if_refused(signal: str) -> Iterator[None]:
    """Go on without a signal when OpenTelemetry refuses what its variables hold."""
    try:
        yield
    except ValueError as error:
        log.error(  # noqa: TRY400 - the place where it was found tells nobody anything
            "a signal is not sent: an OTEL_* variable is wrong", signal=signal, reason=str(error)
        )
