"""OTEL_* variables that hold what they may not cost a signal, and nothing else."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from service.core.wire import Json
from service.observability import metrics
from service.observability.logs import get_logger, logging_to
from service.observability.probe import probe_telemetry
from service.observability.telemetry import telemetry
from service.observability.traces import step_span
from service.settings import LogFormat, Settings
from tests.receivers import Receiver

BEGUN = "what follows is told"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def told(
    log: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> list[dict[str, Json]]:
    """Tell of a step and a retry; return what was logged, but for how Sentry is set and `BEGUN`."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        otlp_endpoint=receiver.traces_url, otlp_metrics_endpoint=receiver.metrics_url
    )
    with (
        log.open("wb") as file,
        logging_to(file.fileno(), level="debug", format=LogFormat.JSON),
        telemetry(settings),
    ):
        get_logger("test").debug(BEGUN)
        with step_span("kept"):
            pass
        metrics.run_retried("echo")
    return [line for line in lines_of(log) if line["message"] != BEGUN]


def lines_of(log: Path) -> list[dict[str, Json]]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if "SENTRY_DSN" not in line["message"]]


@pytest.mark.parametrize(
    "held",
    ["Bearer canary", "authorization=Bearer%20canary%0A", "a=b,naïve=canary", 'a="canary"'],
)
def test_headers_that_cannot_be_sent_are_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """They may hold a token: the variable is named, in the log and by the command."""
    with Receiver() as receiver:
        lines = told(tmp_path / "log", receiver, monkeypatch, {HEADERS: held})
        [traces, *_] = probe_telemetry(Settings(otlp_endpoint=receiver.traces_url))
    wrong = f"{HEADERS} does not hold name=value,name=value as headers allow"
    assert [(line["signal"], line["reason"]) for line in lines] == [
        ("traces", wrong),
        ("metrics", wrong),
    ]
    assert traces.fault == f"an OTEL_* variable is wrong: {wrong}"


def test_headers_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the standard has them, and with spaces, as other languages take them."""
    held = "authorization=Basic%20Y2Fu, x-scope = a b ,"
    with Receiver() as receiver:
        assert told(tmp_path / "log", receiver, monkeypatch, {HEADERS: held}) == []
        assert receiver.spans
        assert receiver.asked["authorization"] == "Basic Y2Fu"
        assert receiver.asked["x-scope"] == "a b"


def test_a_refused_signal_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue smaller than a batch is refused by the SDK: metrics go on without traces."""
    with Receiver() as receiver:
        [line] = told(tmp_path / "log", receiver, monkeypatch, {"OTEL_BSP_MAX_QUEUE_SIZE": "10"})
        assert "max_queue_size" in str(line["reason"])
        assert not receiver.spans
        assert "job.retries" in receiver.metrics


def test_what_the_sdk_corrects_is_no_fault_of_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that is none is replaced by the default, which is said; everything arrives."""
    with Receiver() as receiver:
        [line] = told(
            tmp_path / "log", receiver, monkeypatch, {"OTEL_METRIC_EXPORT_INTERVAL": "often"}
        )
        assert str(line["logger"]).startswith("opentelemetry.")
        assert receiver.spans
        assert "job.retries" in receiver.metrics


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]
)
def test_what_says_how_to_send_is_looked_at_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What is wrong with it is said at once, not when the first batch is sent."""
    with Receiver() as receiver:
        assert told(tmp_path / "log", receiver, monkeypatch, {name: "odd"})
    assert lines_of(tmp_path / "log")[-1]["message"] == BEGUN
