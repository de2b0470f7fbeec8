"""The alerts fire when they should, as Prometheus itself evaluates them."""

import subprocess
from shutil import which
from typing import Final

import pytest

from tests.harness import ROOT

PROMTOOL: Final = which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed; it comes with Prometheus")
@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "deploy/observability/prometheus/prometheus.yml"),
        ("test", "rules", "tests/alerts.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_agrees(words: tuple[str, ...]) -> None:
    """Configuration and rules are sound, and each alert fires in its story and in no other."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_story() -> None:
    """No alert is left untried."""
    stories = (ROOT / "tests" / "alerts.yml").read_text(encoding="utf-8")
    rules = ROOT / "deploy" / "observability" / "prometheus" / "alerts.yml"
    names = [
        line.split(": ")[1]
        for line in rules.read_text(encoding="utf-8").splitlines()
        if "- alert: " in line
    ]
    assert names
    assert not [name for name in names if name not in stories]
