"""What the standard variables say about telemetry, and how long its end may take."""

import os
import re
import time
from collections.abc import Callable
from threading import Thread
from typing import Final
from urllib.parse import unquote

from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_HEADERS,
    OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION,
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE,
    OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_METRICS_EXEMPLAR_FILTER,
    OTEL_SDK_DISABLED,
)

__all__ = [
    "SERVICE_NAME",
    "bounded",
    "counts_by_default",
    "demand_headers",
    "endpoint_of",
    "export_seconds",
    "says_how_to_send",
    "turned_off",
]

SERVICE_NAME: Final = "cron-webhook-service"
EXPORT_SECONDS: Final = 5.0
COUNTING: Final = {
    OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "cumulative",
    OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION: "explicit_bucket_histogram",
    OTEL_METRICS_EXEMPLAR_FILTER: "trace_based",
}
"""The variables that say how to count, with their defaults."""

_HEADER: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+[ \t]*=[ !#-:<-\[\]-~]*", re.ASCII)


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


def demand_headers(signal: str) -> None:
    """Refuse headers that cannot be sent: the library would quote them in the log, and so a token.

    Raises ValueError, which names the variable.
    """
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_HEADERS", OTEL_EXPORTER_OTLP_HEADERS):
        for header in filter(None, map(str.strip, os.environ.get(name, "").split(","))):
            sent = unquote(header)
            if not (_HEADER.fullmatch(header) and sent.isascii() and sent.isprintable()):
                raise ValueError(f"{name} does not hold name=value,name=value as headers allow")


def says_how_to_send() -> bool:
    """Return whether any OTEL_* variable says how to send."""
    return any(name.startswith("OTEL_EXPORTER_") for name in os.environ)


def export_seconds(signal: str) -> float | None:
    """Return the time for sending a batch, or None where the OTEL_* variables say it."""
    named = (f"OTEL_EXPORTER_OTLP_{signal}_TIMEOUT", OTEL_EXPORTER_OTLP_TIMEOUT)
    return None if any(map(os.environ.get, named)) else EXPORT_SECONDS


def counts_by_default() -> bool:
    """Return whether no OTEL_* variable asks to count in another way than OpenTelemetry's usual."""
    return all(
        os.environ.get(name, usual).strip().lower() == usual for name, usual in COUNTING.items()
    )


def bounded(*actions: Callable[[], object], seconds: float) -> bool:
    """Do all `actions` at once, wait `seconds` for them, and return whether all have ended.

    What has not ended goes on in its thread, which holds up no exit.
    """
    threads = [Thread(target=action, name="telemetry-end", daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return not any(thread.is_alive() for thread in threads)
