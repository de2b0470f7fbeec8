"""Traces as a collector receives them."""

import attrs
import pytest
import trio

from service.core.run import Trigger
from service.observability.telemetry import telemetry
from service.observability.traces import (
    attempt_span,
    current_context,
    current_span,
    enqueue_span,
    outbound_span,
    request_span,
    step_span,
    tick_span,
)
from service.settings import Settings
from tests.facts import NOON, RUN
from tests.receivers import Receiver, SpanSeen

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def settings(receiver: Receiver) -> Settings:
    return Settings(otlp_endpoint=receiver.traces_url)


def test_one_trace_from_the_delivery_to_the_last_attempt() -> None:
    """Every attempt, also after a restart, hangs under the enqueue in the caller's trace."""
    with Receiver() as receiver:
        with (
            telemetry(settings(receiver)),
            request_span("POST", "/webhook", {"traceparent": CALLER}) as request,
        ):
            with enqueue_span("echo", "run-1", Trigger.WEBHOOK) as opened:
                stored = opened.context()
            request.answered(202)
        with telemetry(settings(receiver)):  # as after a restart: only the string is left
            for number in (1, 2):
                run = attrs.evolve(RUN, attempt=number, trace_context=stored)
                with attempt_span(run) as attempt:
                    with step_span("fetch"):
                        pass
                    attempt.end()

    request_seen, enqueue = receiver.span("POST /webhook"), receiver.span("enqueue echo")
    attempts = [span for span in receiver.spans if span.name == "attempt echo"]
    steps = [span for span in receiver.spans if span.name == "step fetch"]
    assert request_seen.parent_id == "b7ad6b7169203331"
    assert enqueue.parent_id == request_seen.span_id
    assert [span.parent_id for span in attempts] == [enqueue.span_id] * 2
    assert [span.parent_id for span in steps] == [span.span_id for span in attempts]
    assert {span.trace_id for span in receiver.spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert [span.attributes["run.attempt"] for span in attempts] == [1, 2]
    assert [span.kind for span in (request_seen, enqueue, *attempts)] == [
        "server",
        "producer",
        "consumer",
        "consumer",
    ]


def one_span(receiver: Receiver) -> SpanSeen:
    (span,) = receiver.spans
    return span


def test_a_request_is_described_as_http_servers_are() -> None:
    """Method, route and status have the names of OpenTelemetry's conventions for HTTP."""
    with (
        Receiver() as receiver,
        telemetry(settings(receiver)),
        request_span("POST", "/webhook", {}) as span,
    ):
        span.answered(503)
    seen = one_span(receiver)
    assert seen.attributes == {
        "http.request.method": "POST",
        "http.route": "/webhook",
        "url.path": "/webhook",
        "url.scheme": "http",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert seen.status == "error"


def test_what_a_caller_may_invent_stays_out() -> None:
    """A made-up method, an unknown path or a broken traceparent leaves no trace of its text."""
    with (
        Receiver() as receiver,
        telemetry(settings(receiver)),
        request_span("CANARY", None, {"traceparent": "canary", "tracestate": "c=canary"}) as span,
    ):
        span.answered(404)
    seen = one_span(receiver)
    assert (seen.name, seen.parent_id, seen.status) == ("HTTP", "", "unset")
    assert seen.attributes["http.request.method"] == "_OTHER"
    assert b"canary" not in receiver.raw[0].lower()


def test_an_attempt_without_a_stored_context_is_a_trace_of_its_own() -> None:
    """What the runner happens to be in is no parent of an attempt, nor of a tick."""
    with Receiver() as receiver, telemetry(settings(receiver)), step_span("outer"):
        with attempt_span(attrs.evolve(RUN, cron_id="morning", trigger=Trigger.CRON)) as attempt:
            attempt.end()
        with tick_span("morning", "echo", "run-1", NOON):
            pass
    assert receiver.span("attempt echo").parent_id == ""
    assert receiver.span("attempt echo").attributes["cron.id"] == "morning"
    assert receiver.span("tick morning").parent_id == ""
    assert receiver.span("tick morning").attributes["cron.tick"] == "2026-03-04T12:00:00.000Z"


def test_an_exception_leaves_its_type_and_not_its_words() -> None:
    """A failed span names the exception's type; the message may hold a secret and stays out."""
    with (
        Receiver() as receiver,
        telemetry(settings(receiver)),
        pytest.raises(ValueError, match="canary"),
        step_span("fetch"),
    ):
        raise ValueError("canary-4711")
    seen = one_span(receiver)
    assert (seen.status, seen.attributes["error.type"]) == ("error", "ValueError")
    assert b"canary" not in receiver.raw[0]


async def test_cancels_and_timeouts_are_marked() -> None:
    """A cancelled span is no failure but says so; a timeout is a failure that says why."""
    with Receiver() as receiver, telemetry(settings(receiver)), step_span("outer") as outer:
        with trio.CancelScope() as scope, step_span("inner"):
            scope.cancel()
            await trio.lowlevel.checkpoint()
        outer.outcome("timeout")
        current_span().failed("timeout", "step 'outer' timed out after 30 s")
    inner, outer_seen = receiver.span("step inner"), receiver.span("step outer")
    assert (inner.status, inner.attributes["cancelled"]) == ("unset", True)
    assert (outer_seen.status, outer_seen.attributes["outcome"]) == ("error", "timeout")
    assert outer_seen.message == "step 'outer' timed out after 30 s"


def test_an_outbound_request_keeps_its_address_to_itself() -> None:
    """Of an address only scheme, host and port are sent: path, query and user may be secrets."""
    with (
        Receiver() as receiver,
        telemetry(settings(receiver)),
        outbound_span("GET", "https://canary:canary@example.org/canary?token=canary") as span,
    ):
        span.received(404)
    seen = one_span(receiver)
    assert (seen.name, seen.kind, seen.status) == ("GET", "client", "error")
    assert (seen.attributes["server.address"], seen.attributes["server.port"]) == (
        "example.org",
        443,
    )
    assert b"canary" not in receiver.raw[0]


def test_standard_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our own words."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,a=b")
    with Receiver() as receiver, telemetry(settings(receiver)), step_span("work"):
        pass
    resource = one_span(receiver).resource
    assert resource["service.name"] == "nightly"
    assert resource["deployment.environment.name"] == "prod"
    assert resource["service.version"]
    assert resource["service.instance.id"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ],
)
def test_standard_variables_turn_traces_off(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Disabled, unsampled or not exported: nothing is sent, and nothing breaks."""
    monkeypatch.setenv(name, value)
    with (
        Receiver() as receiver,
        telemetry(settings(receiver)),
        request_span("GET", None, {"traceparent": "x"}) as span,
    ):
        span.answered(500)
    assert receiver.requests == 0


def test_standard_endpoint_counts_where_ours_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT says where traces go."""
    with Receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
        with telemetry(Settings()), step_span("work"):
            pass
    assert one_span(receiver).name == "step work"


def test_without_telemetry_spans_are_no_ops() -> None:
    """Code that traces works where nothing is set up, and has no context to store."""
    with request_span("GET", "/webhook", {}) as span:
        span.answered(200)
        span.note("a", value=1)
        assert current_context() is None
