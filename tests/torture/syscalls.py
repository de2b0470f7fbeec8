"""The n-th system call fails, for n = 1, 2, ... until a round passes in which none did.

strace attaches to the running service and makes one call of one thread return an error. A round
sends webhooks meanwhile; then the fault is gone, and what was refused is sent again. What was
answered has to be in the store, whether the process survived or not.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from service.cli.serving import EX_CRASHED
from service.storage.database import LOG_BYTES_MAX
from tests.harness import Service, launch, until
from tests.torture.executions import JOBS
from tests.torture.load import Answers, send
from tests.torture.postmortem import PostMortem

STRACE: Final = shutil.which("strace")
SETTINGS: Final = {"RUNNERS": "2"}
WEBHOOKS: Final = ("succeed", "retry", "thread")
LARGE: Final = "x" * (LOG_BYTES_MAX // len(WEBHOOKS))
"""A payload of which a round's webhooks make a log that is written back and cut at once."""
PATIENCE_SECONDS: Final = 20.0


@attrs.frozen
class Fault:
    """Which call is to fail, with which error, and what the service is doing then."""

    call: str
    error: str
    stopping: bool = False
    large: bool = False

    def __str__(self) -> str:
        stopping = " while stopping" if self.stopping else ""
        large = " while the log is cut" if self.large else ""
        return f"{self.call} {self.error}{stopping}{large}"


@attrs.define
class Summary:
    """What the rounds of one fault came to."""

    fault: Fault
    rounds: int = 0
    injected: int = 0
    refused: int = 0
    deaths: int = 0
    clean: bool = False

    def __str__(self) -> str:
        return (
            f"{self.fault}: {self.rounds} rounds, {self.injected} calls failed, "
            f"{self.refused} webhooks refused, {self.deaths} times the process ended, "
            f"{'the last round was clean' if self.clean else 'no round was clean'}"
        )


def obstacle() -> str | None:
    """Return why processes cannot be traced here, or None when they can."""
    if STRACE is None:
        return "strace is not installed"
    tried = subprocess.run(
        [STRACE, "-o", "/dev/null", "/bin/true"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"strace does not work: {tried.stderr.strip()}"


def attack(home: Path, fault: Fault, counts: Iterable[int]) -> Summary:
    """Let the n-th call fail for each n of `counts`, up to the first round without a failure."""
    summary, answers = Summary(fault), Answers()
    service = launch(home, JOBS, **SETTINGS).ready()
    try:
        for n in counts:
            summary.rounds += 1
            failed = _round(service, fault, n, answers)
            _look(home, answers)
            if service.process.poll() is not None:
                summary.deaths += 1
                service.client.close()
                service = launch(home, **SETTINGS).ready()
            _recover(service, answers)
            if not failed:
                summary.clean = True
                break
            summary.injected += 1
        assert service.stop() == 0
        _look(home, answers)
    finally:
        service.client.close()
        service.kill()
    summary.refused = answers.refused
    return summary


def _round(service: Service, fault: Fault, n: int, answers: Answers) -> bool:
    """Do some work while the fault is there; return whether it struck."""
    with _failing(service, fault, n) as trace:
        for task in WEBHOOKS:
            delivery = f"{task}-{fault.call}-{fault.error}-{n}"
            payload = LARGE if fault.large else None
            sent = send(service.client, answers, delivery, payload)
            if sent and delivery in answers.run_of:
                _settle(service, answers.run_of[delivery])
        if fault.stopping:
            assert service.stop() in {0, EX_CRASHED}
    struck = [line for line in trace.read_text(encoding="utf-8").splitlines() if "INJECTED" in line]
    if any("fdatasync" in line and ".sqlite3" in line for line in struck) and not fault.stopping:
        assert service.wait(PATIENCE_SECONDS) == EX_CRASHED
    elif not fault.stopping:
        assert service.process.poll() is None, service.log_file.read_text(encoding="utf-8")
    return bool(struck)


def _settle(service: Service, run_id: str) -> None:
    """Wait until the run has ended or the process has, reading only what the service logs."""

    def over() -> bool:
        ended = [line for line in service.log() if line.get("run_id") == run_id]
        return service.process.poll() is not None or any(
            line["message"] in {"run succeeded", "run failed"} for line in ended
        )

    until(over, f"run {run_id} has ended")


@contextmanager
def _failing(service: Service, fault: Fault, n: int) -> Iterator[Path]:
    """Hold strace attached to every thread of the service."""
    trace = service.home / "trace"
    trace.unlink(missing_ok=True)
    tracer = subprocess.Popen(
        [
            *(str(STRACE), "-f", "-y", "-qq", "-o", str(trace)),
            *(
                "-e",
                f"trace={fault.call}",
                "-e",
                f"inject={fault.call}:error={fault.error}:when={n}",
            ),
            *("-p", str(service.process.pid)),
        ]
    )
    try:
        until(lambda: _is_traced(service.process.pid), "strace has attached")
        yield trace
    finally:
        tracer.terminate()
        tracer.wait()


def _is_traced(pid: int) -> bool:
    states = [
        path.read_text(encoding="utf-8") for path in Path(f"/proc/{pid}/task").glob("*/status")
    ]
    return all(re.search(r"^TracerPid:\s+[1-9]", state, re.MULTILINE) for state in states)


def _recover(service: Service, answers: Answers) -> None:
    """Send again what was refused; without a restart all of it is taken, and ends."""
    while (delivery := answers.take_unanswered()) is not None:
        assert send(service.client, answers, delivery)
        assert delivery in answers.run_of
    assert service.client.get("/_health").status_code == 200
    for run_id in answers.run_of.values():
        service.run_until(run_id, "ok", "error")


def _look(home: Path, answers: Answers) -> None:
    found = PostMortem.of(home / "data" / "runs.sqlite3")
    assert found.faults == ()
    assert answers.faults == []
    assert set(answers.run_of.values()) <= found.runs.keys(), "answered, but not in the store"
