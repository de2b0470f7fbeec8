"""Sentry as we use it: it sends what it is given, and nothing behind our back.

The SDK's integrations are off, since they send log lines, arguments of the process and requests,
and print at exit. What is sent has no local variables, no requests and no query strings; tags say
which run it was, and the trace context leads to its trace.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, cast

import attrs
import sentry_sdk
from opentelemetry import trace
from sentry_sdk.consts import EndpointType
from sentry_sdk.crons import MonitorStatus, capture_checkin
from sentry_sdk.transport import HttpTransport
from sentry_sdk.types import Event, Hint
from urllib3 import HTTPResponse

from service.core.results import Result
from service.core.run import Failure, Run
from service.observability.answers import beginning_of
from service.observability.collector import Collector
from service.observability.exceptions import kind_of
from service.observability.export import SERVICE_NAME
from service.observability.monitors import Monitor
from service.observability.sentry import reporting_to
from service.settings import Secret

if TYPE_CHECKING:
    from sentry_sdk.types import MonitorConfig

__all__ = ["make_client", "start_sentry"]

END_SECONDS: Final = 30.0
SENDING: Final = "sentry_sdk.errors"
_QUERY: Final = re.compile(r"\?[^\s'\"<>)]+")
_USER: Final = re.compile(r"//[^/\s@'\"]+@")


def start_sentry(
    dsn: Secret, monitors: Mapping[str, Monitor], undo: ExitStack
) -> Callable[[], None]:
    """Send errors to the project of `dsn` until `undo`; return what sends the rest, in 30 s.

    `monitors` are of cron jobs, by id: their runs check in and out.
    """
    client, collector = make_client(dsn)
    collector.listen(undo)
    sentry_sdk.get_global_scope().set_client(client)
    undo.callback(sentry_sdk.get_global_scope().set_client, None)
    reporter = _Reporter(monitors)
    undo.enter_context(reporting_to(reporter))
    _report_threads(reporter, undo)
    return client.close


def make_client(dsn: Secret) -> tuple[sentry_sdk.Client, Collector]:
    """Return a client that sends only what it is given, and who keeps account of it."""
    client = sentry_sdk.Client(
        dsn=dsn.reveal(),
        release=f"{SERVICE_NAME}@{version(SERVICE_NAME)}",
        transport=_Transport,
        before_send=_without_secrets,
        shutdown_timeout=END_SECONDS,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_request_body_size="never",
        propagate_traces=False,
        auto_session_tracking=False,
        send_client_reports=False,
        enable_backpressure_handling=False,
    )
    transport = client.transport
    if not isinstance(transport, _Transport):
        raise TypeError(f"Sentry sends by {type(transport).__name__}, and not by our transport")
    return client, transport.collector


@attrs.frozen
class _Reporter:
    """Gives errors and check-ins to Sentry, each with the place in its trace."""

    _monitors: Mapping[str, Monitor]

    @contextmanager
    def scope(self, run: Run) -> Iterator[None]:
        with sentry_sdk.isolation_scope() as scope:
            scope.set_tags(_tags(run))
            yield

    def failure(self, run: Run, outcome: Failure | Result) -> None:
        error = outcome.exception if isinstance(outcome, Failure) else None
        with _traced(_tags(run)) as scope:
            scope.fingerprint = [run.job_id, kind_of(outcome)]
            if error is not None:
                sentry_sdk.capture_exception(error)
            else:
                sentry_sdk.capture_message(f"{run.job_id}: {outcome.message}", level="error")

    def crash(self, error: BaseException, **tags: str) -> None:
        with _traced(tags):
            sentry_sdk.capture_exception(error)

    def began(self, run: Run) -> None:
        self._check(run, MonitorStatus.IN_PROGRESS)

    def ended(self, run: Run, *, well: bool) -> None:
        self._check(run, MonitorStatus.OK if well else MonitorStatus.ERROR)

    def _check(self, run: Run, status: str) -> None:
        """Send a check-in, with which Sentry makes the monitor or brings it up to date."""
        monitor = self._monitors.get(run.cron_id or "")
        if monitor is None:
            return
        with _traced({}):
            capture_checkin(
                monitor_slug=monitor.slug,
                check_in_id=run.id.replace("-", ""),  # of its own kind; the same after a restart
                status=status,
                monitor_config=cast("MonitorConfig", monitor.config()),
            )


@contextmanager
def _traced(tags: Mapping[str, str]) -> Iterator[sentry_sdk.Scope]:
    with sentry_sdk.new_scope() as scope:
        scope.set_tags(tags)
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            trace_id, span_id = (
                trace.format_trace_id(span.trace_id),
                trace.format_span_id(span.span_id),
            )
            scope.set_context("trace", {"trace_id": trace_id, "span_id": span_id})
        yield scope


def _tags(run: Run) -> dict[str, str]:
    return {
        "job_id": run.job_id,
        "run_id": run.id,
        "trigger": str(run.trigger),
        "attempt": str(run.attempt),
    }


def _without_secrets(event: Event, _hint: Hint) -> Event:
    """Take from messages what the addresses in them may carry."""
    if "message" in event:
        event["message"] = _bare(event["message"])
    for error in event.get("exception", {}).get("values", ()):
        error["value"] = _bare(str(error.get("value") or ""))
    return event


def _bare(text: str) -> str:
    return _USER.sub("//...@", _QUERY.sub("?...", text))


class _Transport(HttpTransport):
    """Sends envelopes from a thread of its own, and keeps account of how that went."""

    TIMEOUT = 5  # seconds

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        self.collector = Collector("errors", str(self.parsed_dsn), sending=SENDING)

    def _request(
        self,
        method: str,
        endpoint_type: EndpointType,
        body: bytes,
        headers: Mapping[str, str],
    ) -> HTTPResponse:
        # The only place that sees how each delivery went; the SDK's own transports override it too.
        url = self._auth.get_api_url(endpoint_type)
        try:
            answer = self._pool.request(
                method, url, body=body, headers=headers, preload_content=False
            )
            response = HTTPResponse(beginning_of(answer), answer.headers, answer.status)
        except Exception as error:  # kept account of, and left to the SDK
            self.collector.failed(error)
            raise
        if response.status < 300:  # noqa: PLR2004 - what HTTP calls success
            self.collector.delivered()
        else:
            self.collector.failed(f"HTTP {response.status}")
        return response

    def on_dropped_event(self, reason: str) -> None:
        """Take note that there were more errors than could be sent."""
        self.collector.lost(f"an error was dropped: {reason}")


def _report_threads(reporter: _Reporter, undo: ExitStack) -> None:
    before = threading.excepthook
    undo.callback(setattr, threading, "excepthook", before)

    def thread_died(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            reporter.crash(args.exc_value, thread=args.thread.name if args.thread else "")
        before(args)

    threading.excepthook = thread_died
