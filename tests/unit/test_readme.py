"""The README says what the code does."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from service.core.throttling import WAIT_MAX_SECONDS
from service.settings import variables
from service.tasks.arguments import NAME_MAX, SLEEP_MAX_SECONDS
from service.tasks.execution import RESULT_MAX_BYTES, RETRY_AFTER_MAX_SECONDS
from service.tasks.http import BODY_MAX_BYTES, WAITS_MAX
from service.tasks.processes import OUTPUT_MAX_BYTES
from service.tasks.workspace import NOTE_MAX, STEP_MAX_BYTES, STEPS_MAX, STEPS_MAX_BYTES
from tests.harness import ROOT, environ_for

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")


def test_settings_table_is_the_settings() -> None:
    """Every variable stands in the README with its default, meaning and unit, and no other does."""
    rows = []
    for variable in variables():
        default = f"`{variable.default}`" if variable.default else "not set"
        rows.append(f"| `{variable.name}` | {default} | {variable.meaning} | {variable.unit} |")
    head = "| variable | default | meaning | unit |\n| --- | --- | --- | --- |\n"
    assert head + "\n".join(rows) + "\n\n" in README


def test_named_tests_exist() -> None:
    """Each promise names tests that are there."""
    table = README.split("## Promises")[1].split("## Developing")[0]
    folder: Path | None = None
    named = re.findall(r"`((?:tests/)?[\w/*]+\.py)`", table)
    assert len(named) > 8
    for name in named:
        path = ROOT / name if "/" in name else (folder or ROOT) / name
        folder = path.parent
        assert list(path.parent.glob(path.name)), f"{name} is named in the README but is not there"


def test_limits_are_those_of_the_code() -> None:
    """The table of limits says what the constants hold."""
    limits = [
        f"| result of a task | {RESULT_MAX_BYTES:,} bytes",
        f"| result of a step | {STEP_MAX_BYTES:,} bytes",
        f"| steps of a run | {STEPS_MAX:,}, and {STEPS_MAX_BYTES:,} bytes together |",
        f"| name of a step, id of a task | {NAME_MAX} characters |",
        f"| answer to a request | {BODY_MAX_BYTES:,} bytes",
        f"| wait that a server asks for | {WAIT_MAX_SECONDS:,.0f} s at a time, {WAITS_MAX} times |",
        f"| output of a program | {OUTPUT_MAX_BYTES:,} bytes of each stream",
        f"| `ctx.sleep` | {SLEEP_MAX_SECONDS / 86_400:.0f} days |",
        f"| `RetryAfter` | {RETRY_AFTER_MAX_SECONDS:,.0f} s |",
        f"| note of a progress | {NOTE_MAX} characters |",
    ]
    table = README.split("| what | limit |")[1].split("\n\n")[0].splitlines()[2:]
    assert len(table) == len(limits)
    for row, limit in zip(table, limits, strict=True):
        assert row.startswith(limit)


def test_links_lead_somewhere() -> None:
    """Each file that is linked is there."""
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(linked) > 1
    for path in linked:
        assert (ROOT / path).exists(), path


def test_tasks_do_what_is_said(home: Path) -> None:
    """The README's tasks and tests, put into files as they stand, are typed, checked and pass."""
    *tasks, test = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (home / "jobs.py").write_text("\n\n".join(tasks), encoding="utf-8")
    (home / "test_jobs.py").write_text(test, encoding="utf-8")
    environ = environ_for(JOBS_MODULE="jobs", PYTHONPATH=f"{home}:{ROOT}")

    def run(*words: str) -> str:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command, cwd=home, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "no issues" in run("mypy", "--strict", "jobs.py", "test_jobs.py")
    told = run("service", "check")
    assert "minutely" in told
    assert "stars" in told
    assert "at most 1, priority -1, 30/minute" in " ".join(told.split())
    assert "1 passed" in run("pytest", "-q", "-p", "no:cacheprovider", "test_jobs.py")
