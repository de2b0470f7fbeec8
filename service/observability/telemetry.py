"""All telemetry besides logs: set up once, ended within a bound."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from service.observability.export import bounded, service_resource, turned_off
from service.observability.logs import get_logger
from service.observability.otlp import start_metrics, start_traces
from service.observability.sentry import capture_crash, start_sentry
from service.settings import Settings

__all__ = ["telemetry"]

END_SECONDS: Final = 1.0

log = get_logger("service.telemetry")


@contextmanager
def telemetry(settings: Settings) -> Iterator[None]:
    """Send traces, metrics and errors where `settings` says; enter it within `logging_to`.

    Leaving sends what is left, for `END_SECONDS` at most, whatever becomes of the collectors.
    """
    with ExitStack() as undo:
        ends = [start_sentry(settings.sentry_dsn, undo)]
        resource = service_resource()
        if not turned_off("TRACES"):
            ends.append(start_traces(settings.otlp_endpoint, resource, undo))
        if settings.otlp_metrics_endpoint is not None and not turned_off("METRICS"):
            ends.append(start_metrics(settings.otlp_metrics_endpoint, resource, undo))
        try:
            yield
        except Exception as error:
            capture_crash(error)
            raise
        finally:
            if not bounded(*filter(None, ends), seconds=END_SECONDS):
                log.warning("not all telemetry could be sent in time", seconds=END_SECONDS)
                undo.pop_all()  # what still tries to send is heard until the process has ended
