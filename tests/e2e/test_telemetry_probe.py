"""What `service check --telemetry` finds out."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.observability.probe import Probed, probe_telemetry
from service.settings import Secret, Settings
from tests.harness import environ_for
from tests.receivers import Receiver, answering


def settings(receiver: Receiver) -> Settings:
    return Settings(
        otlp_endpoint=receiver.traces_url,
        otlp_metrics_endpoint=receiver.metrics_url,
        sentry_dsn=Secret(receiver.dsn),
    )


def test_each_signal_is_sent_and_said_to_have_arrived() -> None:
    """One span, one metric and one error go out; the other side has each of them."""
    with Receiver() as receiver:
        found = list(probe_telemetry(settings(receiver)))
    assert [(probed.signal, probed.fault) for probed in found] == [
        ("traces", None),
        ("metrics", None),
        ("errors", None),
    ]
    assert [span.name for span in receiver.spans] == ["service check"]
    assert list(receiver.metrics) == ["service.checks"]
    assert [event["message"] for event in receiver.events] == ["service check"]


def test_a_refusal_is_told_with_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    """What the other side answered is what the operator reads, and nothing is logged besides."""
    with Receiver() as receiver:
        receiver.status = 403
        found = list(probe_telemetry(settings(receiver)))
    assert all("403" in str(probed.fault) for probed in found)
    assert all("canary" not in str(probed) for probed in found)
    assert capfd.readouterr() == ("", "")


def test_a_dead_endpoint_is_told_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody there: the cause at the bottom is named, and nothing is logged besides."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    with Receiver() as receiver:
        gone = settings(receiver)
    found = list(probe_telemetry(gone))
    assert all("Connection refused" in str(probed.fault) for probed in found)
    assert capfd.readouterr() == ("", "")


def test_what_a_collector_does_not_take_is_told(home: Path) -> None:
    """An answer of success that rejects the span or point is a fault; one that warns is none."""
    with Receiver() as receiver:
        sent = {
            "OTEL_SDK_DISABLED": "false",
            "OTLP_ENDPOINT": receiver.traces_url,
            "OTLP_METRICS_ENDPOINT": receiver.metrics_url,
        }
        receiver.answer = answering(1, "the tenant is full")
        refused = checked(home, **sent)
        receiver.answer = answering(0, "use gzip")
        warned = checked(home, "--json", **sent)
    assert refused.returncode == 1
    for signal, url in (("traces", receiver.traces_url), ("metrics", receiver.metrics_url)):
        assert re.search(rf"{signal} +{url} +1 rejected: the tenant is full", refused.stdout)
    assert warned.returncode == 0
    found = json.loads(warned.stdout)["telemetry"][:2]
    assert [(row["arrived"], row["reason"]) for row in found] == [(True, "use gzip")] * 2


def test_who_repeats_a_token_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a collector says of the headers that it got is told without what they hold."""
    headers = "authorization=Bearer%20canary-1,x-key=canary-2,x-tenant=7"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    with Receiver() as receiver:
        words = "no 'Bearer canary-1', no canary-1 of tenant 7: "
        receiver.answer = answering(1, words + "x" * (294 - len(words)) + "canary-2")
        [traces, metrics, _] = probe_telemetry(settings(receiver))
    for probed in (traces, metrics):
        assert str(probed.fault).startswith("1 rejected: no '...', no ... of tenant 7: x")
        assert "canary" not in str(probed.fault)


@pytest.mark.parametrize("answer", [b"", answering(0, ""), b"{}", b"<html>", answering(9, "x")[:4]])
def test_an_answer_that_is_none_says_nothing(answer: bytes) -> None:
    """What took everything, what is no OTLP, and what is cut off all arrived."""
    with Receiver() as receiver:
        receiver.answer = answer
        found = list(probe_telemetry(settings(receiver)))
    assert [(probed.fault, probed.warning) for probed in found] == [(None, None)] * 3


def test_what_is_off_is_told_to_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that goes nowhere is no fault; the variable that decides is named."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert list(probe_telemetry(Settings())) == [
        Probed("traces", None, "turned off by OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER"),
        Probed("metrics", None, "OTLP_METRICS_ENDPOINT is not set"),
        Probed("errors", None, "SENTRY_DSN is not set"),
    ]


def checked(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "check", "--telemetry", *words],
        cwd=home,
        env=environ_for(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_plainly_what_arrived(home: Path) -> None:
    """A row for each signal: arrived, why not, or why it is not sent; a fault is exit code 1."""
    with Receiver() as receiver:
        sent = {"OTEL_SDK_DISABLED": "false", "OTLP_ENDPOINT": receiver.traces_url}
        good = checked(home, **sent)
        receiver.status = 401
        bad = checked(home, SENTRY_DSN=receiver.dsn, **sent)
        data = checked(home, "--json", **sent)
    assert good.returncode == 0, good.stderr
    assert re.search(rf"traces +{receiver.traces_url} +arrived", good.stdout)
    assert re.search(r"errors +- +SENTRY_DSN is not set", good.stdout)
    assert bad.returncode == 1
    assert re.search(rf"traces +{receiver.traces_url} +HTTP 401", bad.stdout)
    assert re.search(r"errors +http://127\.0\.0\.1:\d+/42 +HTTP 401", bad.stdout)
    assert "canary" not in bad.stdout + bad.stderr
    assert data.returncode == 1
    [traces, metrics, _] = json.loads(data.stdout)["telemetry"]
    assert traces == {
        "signal": "traces",
        "sentTo": receiver.traces_url,
        "arrived": False,
        "reason": "HTTP 401 Unauthorized",
    }
    off = "OTLP_METRICS_ENDPOINT is not set"
    assert metrics == {"signal": "metrics", "sentTo": None, "arrived": False, "reason": off}
