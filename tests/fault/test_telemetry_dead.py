"""Collectors that are dead, slow, refusing or silent hurt no one, and say so once."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.core.run import Failure
from service.core.wire import Json
from service.observability.logs import logging_to
from service.observability.sentry import capture_crash, capture_failure
from service.observability.telemetry import telemetry
from service.observability.traces import step_span
from service.settings import LogFormat, Secret, Settings
from tests.facts import RUN
from tests.receivers import Receiver, answering, black_hole

BROKEN = "traces cannot be delivered"
RECOVERED = "traces are delivered again"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let batches leave at once, and each give up early."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")


@contextmanager
def observed(log: Path, settings: Settings) -> Iterator[None]:
    with (
        log.open("wb") as file,
        logging_to(file.fileno(), level="debug", format=LogFormat.JSON),
        telemetry(settings),
    ):
        yield


def said(log: Path) -> list[dict[str, Json]]:
    """Return what was said, but for how Sentry is set."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if "SENTRY_DSN" not in line["message"]]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refusing_collector_is_two_lines(log: Path, status: int) -> None:
    """Many lost batches are one warning with the reason; then it works, and one line says so."""
    with Receiver() as receiver:
        receiver.status = status
        receiver.headers = {"Retry-After": "3600"}
        with observed(log, Settings(otlp_endpoint=receiver.traces_url)):
            for number in range(5):
                with step_span("lost"):
                    pass
                receiver.wait(lambda number=number: receiver.requests > number)  # type: ignore[misc] # bound early
            receiver.status = 200
            with step_span("kept"):
                pass
            receiver.wait(lambda: any(span.name == "step kept" for span in receiver.spans))
    broken, recovered = said(log)
    assert (broken["level"], broken["message"]) == ("warning", BROKEN)
    assert str(broken["endpoint"]) == receiver.traces_url
    assert str(status) in str(broken["reason"])
    assert (recovered["level"], recovered["message"]) == ("info", RECOVERED)


@pytest.mark.parametrize(
    ("rejected", "broken", "recovered"),
    [
        (3, BROKEN, RECOVERED),
        (
            0,
            "traces are delivered, with a warning of the collector",
            "traces are delivered without a warning again",
        ),
    ],
)
def test_a_collector_that_rejects_or_warns_is_two_lines(
    log: Path, rejected: int, broken: str, recovered: str
) -> None:
    """It answers with success, and says in its answer that not all is well; then all is."""
    with Receiver() as receiver:
        receiver.answer = answering(rejected, "the tenant is full")
        with observed(log, Settings(otlp_endpoint=receiver.traces_url)):
            for number in range(3):
                with step_span("rejected"):
                    pass
                receiver.wait(lambda number=number: receiver.requests > number)  # type: ignore[misc] # bound early
            receiver.answer = b""
            with step_span("kept"):
                pass
            receiver.wait(lambda: any(span.name == "step kept" for span in receiver.spans))
    first, last = said(log)
    assert (first["level"], first["message"]) == ("warning", broken)
    assert "the tenant is full" in str(first["reason"])
    assert (last["level"], last["message"]) == ("info", recovered)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_dead_collector_is_one_warning_that_names_the_cause(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody there, as on a laptop, the log has one line and the end is not held up."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4000")  # else a full queue may be the cause
    port = closed_port()
    with observed(
        log, Settings(otlp_endpoint=f"http://user:canary@127.0.0.1:{port}/v1/traces?k=canary")
    ):
        for _ in range(3000):
            with step_span("lost"):
                pass
    first, *rest = said(log)
    assert first["message"] == BROKEN
    assert first["endpoint"] == f"http://127.0.0.1:{port}/v1/traces"
    assert "Connection refused" in str(first["reason"])
    assert [line["message"] for line in rest] in ([], ["not all telemetry could be sent in time"])
    assert "canary" not in log.read_text()


def test_a_collector_that_never_answers_holds_up_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A black hole fills a queue of bounded size; the end does not wait for it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    with black_hole() as port:
        settings = Settings(
            otlp_endpoint=f"http://127.0.0.1:{port}/v1/traces",
            sentry_dsn=Secret(f"http://key@127.0.0.1:{port}/42"),
        )
        with observed(log, settings):
            for _ in range(1000):
                with step_span("lost"):
                    pass
            capture_crash(ValueError("lost"))
    messages = [line["message"] for line in said(log)]
    assert messages == [BROKEN, "not all telemetry could be sent in time"]


def test_a_dead_sentry_is_two_lines(log: Path) -> None:
    """Errors that cannot be delivered are one warning; what works again is one line."""
    port = closed_port()
    dsn = Secret(f"http://canary-key@127.0.0.1:{port}/42")
    settings = Settings(otlp_endpoint=f"http://127.0.0.1:{port}/v1/traces", sentry_dsn=dsn)
    with observed(log, settings):
        for _ in range(300):
            capture_failure(RUN, Failure("x", exception=ValueError("x")))
        with Receiver(port) as receiver:
            receiver.wait(lambda: bool(receiver.events))
    assert "canary" not in log.read_text()
    lines = [line["message"] for line in said(log) if str(line["message"]).startswith("errors")]
    assert lines == [
        "errors cannot be delivered",
        "errors are delivered again",
    ]


def test_a_sentry_that_refuses_is_one_warning(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate limit is said once, and no event is waited for at the end."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Receiver() as receiver:
        receiver.status = 429
        with observed(log, Settings(sentry_dsn=Secret(receiver.dsn))):
            for number in range(200):
                capture_failure(RUN, Failure("x", exception=ValueError(str(number))))
            receiver.wait(lambda: receiver.requests > 0)
    assert [line["message"] for line in said(log)] == ["errors cannot be delivered"]
