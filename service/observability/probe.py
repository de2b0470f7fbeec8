"""Whether one test span, metric and error arrive, and if not, why."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, TypeAlias

import attrs

from service.observability.collector import Collector, without_secrets
from service.observability.export import bounded, turned_off
from service.observability.sentry_client import make_client
from service.settings import Secret, Settings

__all__ = ["Probed", "probe_telemetry"]

PROBE_SECONDS: Final = 10.0

Sample: TypeAlias = "tuple[Collector, Callable[[], object]]"
"""Who keeps account of a signal, and what sends it."""


@attrs.frozen
class Probed:
    """What became of a test signal: it arrived, it did not, or it is not to be sent at all."""

    signal: str
    endpoint: str | None
    """None where nothing is to be sent."""
    fault: str | None
    """Why it did not arrive, or was not taken; None where it was."""
    warning: str | None = None
    """What the collector says of it, though it took it."""


def probe_telemetry(settings: Settings) -> Iterator[Probed]:
    """Send one test span, metric and error, each within `PROBE_SECONDS`."""
    if turned_off("TRACES"):
        yield Probed("traces", None, "turned off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER")
    else:
        yield _probed_by_otlp("traces", _span, settings.otlp_endpoint)
    if settings.otlp_metrics_endpoint is None:
        yield Probed("metrics", None, "OTLP_METRICS_ENDPOINT is not set")
    elif turned_off("METRICS"):
        yield Probed("metrics", None, "turned off by OTEL_SDK_DISABLED or OTEL_METRICS_EXPORTER")
    else:
        yield _probed_by_otlp("metrics", _metric, settings.otlp_metrics_endpoint)
    if settings.sentry_dsn is None:
        yield Probed("errors", None, "SENTRY_DSN is not set")
    else:
        yield _probed("errors", *_error(settings.sentry_dsn))


def _probed_by_otlp(signal: str, sample: Callable[[str], Sample], endpoint: str) -> Probed:
    try:
        return _probed(signal, *sample(endpoint))
    except ValueError as error:
        return Probed(signal, without_secrets(endpoint), f"an OTEL_* variable is wrong: {error}")


def _probed(signal: str, collector: Collector, send: Callable[[], object]) -> Probed:
    collector.quiet = True
    with ExitStack() as undo:
        collector.listen(undo)
        if not bounded(send, seconds=PROBE_SECONDS):
            undo.pop_all()  # what still tries to send is to stay quiet
        late = f"no answer within {PROBE_SECONDS:g} s"
        fault = None if collector.batches else collector.rejection or collector.reason or late
    return Probed(signal, collector.endpoint, fault, collector.warning)


def _span(endpoint: str) -> Sample:
    from service.observability.samples import span

    return span(endpoint)


def _metric(endpoint: str) -> Sample:
    from service.observability.samples import metric

    return metric(endpoint)


def _error(dsn: Secret) -> Sample:
    client, collector = make_client(dsn)

    def send() -> None:
        client.capture_event({"message": "service check", "level": "info"})
        client.flush(PROBE_SECONDS)

    return collector, send
