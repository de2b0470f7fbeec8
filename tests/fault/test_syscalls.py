"""The n-th system call fails: sampled here; `make torture` tries every n."""

from pathlib import Path
from typing import Final

import pytest

from tests.torture import syscalls
from tests.torture.syscalls import Fault

SAMPLE: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55, 1000)
STOP_SAMPLE: Final = (1, 3, 8, 21, 1000)
LARGE_SAMPLE: Final = (1, 1000)


@pytest.fixture(autouse=True)
def traceable() -> None:
    if (reason := syscalls.obstacle()) is not None:
        pytest.skip(f"system calls cannot be made to fail: {reason}")


def attack(home: Path, fault: Fault) -> syscalls.Summary:
    sample = STOP_SAMPLE if fault.stopping else LARGE_SAMPLE if fault.large else SAMPLE
    summary = syscalls.attack(home, fault, sample)
    print(summary)  # noqa: T201 - shown when it fails
    assert summary.clean
    assert summary.injected, "nothing failed"
    return summary


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_failed_write_refuses_and_recovers(home: Path, error: str) -> None:
    """A write that fails is answered with 503, never with 202, and the service goes on."""
    summary = attack(home, Fault("pwrite64", error))
    assert summary.refused
    assert not summary.deaths


def test_failed_sync_ends_the_process(home: Path) -> None:
    """After a failed sync nothing is known about the disk: the next start reads what is there."""
    assert attack(home, Fault("fdatasync", "EIO")).deaths


@pytest.mark.parametrize(
    "fault",
    [Fault("openat", "ENOSPC"), Fault("openat", "EIO"), Fault("ftruncate", "EIO", large=True)],
    ids=str,
)
def test_failed_open_or_cut_loses_nothing(home: Path, fault: Fault) -> None:
    """Whatever else fails costs no run that was answered."""
    assert not attack(home, fault).deaths


@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "ftruncate"])
def test_fault_while_stopping_loses_nothing(home: Path, call: str) -> None:
    """When the log cannot be written back at the end, the next start takes it in."""
    attack(home, Fault(call, "EIO", stopping=True))
