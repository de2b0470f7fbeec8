"""How telemetry leaves the process: who we are, where it goes, and what is said when it cannot.

The exporters of OpenTelemetry log each failed batch and each dropped span, wait up to 30 s at the
end and ignore the timeouts they are given. Here a fault of a collector is one line when it begins
and one when it is over, and every wait at the end has a bound.
"""

import logging
import os
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from threading import Thread
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_SDK_DISABLED,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from service.observability.fault import Fault
from service.observability.logs import get_logger
from service.observability.thin import cut

__all__ = [
    "SERVICE_NAME",
    "Collector",
    "bounded",
    "endpoint_of",
    "export_seconds",
    "service_resource",
    "turned_off",
]

SERVICE_NAME: Final = "cron-webhook-service"
EXPORT_SECONDS: Final = 5.0
REASON_CHARACTERS: Final = 300

log = get_logger("service.telemetry")


def service_resource() -> Resource:
    """Describe this process; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our words."""
    ours = Resource.create(
        {
            "service.name": SERVICE_NAME,
            "service.version": version(SERVICE_NAME),
            "service.instance.id": str(uuid4()),
        }
    )
    return ours.merge(OTELResourceDetector().detect())


def turned_off(signal: str) -> bool:
    """Return whether OTEL_SDK_DISABLED, or the exporter `none`, turns a signal off."""
    disabled = os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true"
    return disabled or os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none"


def endpoint_of(signal: str, ours: str, default: str | None) -> str:
    """Return where a signal goes.

    Ours counts unless it is the `default` and OpenTelemetry's own variables name another.
    """
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if base := os.environ.get(OTEL_EXPORTER_OTLP_ENDPOINT):
        own = own or f"{base.rstrip('/')}/v1/{signal.lower()}"
    return own if own and ours == default else ours


def export_seconds(signal: str) -> float | None:
    """Return the time for sending a batch, or None where the OTEL_* variables say it."""
    named = (f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT", OTEL_EXPORTER_OTLP_TIMEOUT)
    return None if any(map(os.environ.get, named)) else EXPORT_SECONDS


def bounded(*actions: Callable[[], object], seconds: float) -> bool:
    """Do all `actions` at once, wait `seconds` for them, and return whether all have ended.

    What has not ended goes on in its thread, which holds up no exit.
    """
    threads = [Thread(target=action, name="telemetry-end", daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    return not any(thread.is_alive() for thread in threads)


class Collector:
    """One place that telemetry goes to: hears why sending fails, and says it once.

    `sending` is the library's logger that tells why a batch failed, `losing` the one, if any, that
    tells of what was dropped before it was sent. What they say is heard here instead of logged.
    """

    def __init__(
        self, signal: str, endpoint: str, *, sending: str, losing: str | None = None
    ) -> None:
        self._fault = Fault(
            log,
            broken=f"{signal} cannot be delivered",
            recovered=f"{signal} are delivered again",
        )
        self.endpoint = _without_secrets(endpoint)
        self.batches = 0
        """How many deliveries worked."""
        self.quiet = False
        """Whether someone else tells how it goes."""
        self._ears = {sending: _Ear(self._hear)}
        if losing is not None:
            self._ears[losing] = _Ear(self.lost)
        self.reason: str | None = None
        """Why the latest delivery failed; None after one that worked."""

    def listen(self, undo: ExitStack) -> None:
        """Take over what the library's loggers say."""
        for name, ear in self._ears.items():
            library = logging.getLogger(name)
            library.addFilter(ear)
            undo.callback(library.removeFilter, ear)

    def session(self) -> Session:
        """Return an HTTP session that shows how its requests end; the library keeps the causes."""
        session = Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Witness(self._hear))
        return session

    def delivered(self) -> None:
        """Take note that a batch arrived."""
        self.batches += 1
        self.reason = None
        if not self.quiet:
            self._fault.worked()

    def failed(self, reason: BaseException | str | None = None) -> None:
        """Take note that a batch is lost; without a `reason` it is the one that was heard."""
        if isinstance(reason, BaseException):
            reason = _root(reason)
        self.reason = reason or self.reason
        if not self.quiet:
            self._fault.failed(endpoint=self.endpoint, reason=self.reason)

    def lost(self, reason: str) -> None:
        """Take note that something was dropped before it was sent."""
        self._hear(reason)
        self.failed()

    def _hear(self, reason: str) -> None:
        if self.reason is None:  # what comes later only says that it was given up
            self.reason = reason


class _Ear(logging.Filter):
    """Takes the records of a logger away from the log."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def filter(self, record: logging.LogRecord) -> bool:
        self._hear(cut(record.getMessage(), REASON_CHARACTERS))
        return False


class _Witness(HTTPAdapter):
    """Tells what became of each request that did not succeed."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def send(  # noqa: PLR0913, PLR0917 - the signature of the library
        self,
        request: PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - as above
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002 - as above
        cert: str | tuple[str, str] | None = None,
        proxies: dict[str, str] | None = None,
    ) -> Response:
        try:
            response = super().send(request, stream, timeout, verify, cert, proxies)
        except RequestException as error:
            self._hear(_root(error))
            raise
        if not response.ok:
            self._hear(f"HTTP {response.status_code} {response.reason}")
        return response


def _root(error: BaseException) -> str:
    """Return what went wrong at the bottom: libraries wrap it in their addresses and pools."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return cut(f"{type(error).__name__}: {error}", REASON_CHARACTERS)


def _without_secrets(url: str) -> str:
    """Return the part of an address that carries no password and no token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
