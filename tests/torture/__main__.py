"""`make torture ROUNDS=500 SEED=7`: the attacks of the suite, as many rounds as asked."""

import argparse
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from tests.harness import short_home
from tests.torture import backlog, kills, syscalls
from tests.torture.syscalls import Fault

KILLS_A_STORE: Final = 50
"""So that many stores are tortured, and none grows beyond reason."""

FAULTS: Final = [
    *(Fault("pwrite64", error) for error in ("ENOSPC", "EIO")),
    *(Fault("fdatasync", error) for error in ("ENOSPC", "EIO")),
    *(Fault("ftruncate", error, large=True) for error in ("ENOSPC", "EIO")),
    *(Fault("openat", error) for error in ("ENOSPC", "EIO")),
    *(Fault(call, "EIO", stopping=True) for call in ("pwrite64", "fdatasync", "ftruncate")),
]


T = TypeVar("T")


def main() -> None:
    """Attack, and print a summary of each attack; the first broken promise ends it."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="kills in all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    _say(f"SEED={options.seed} ROUNDS={options.rounds}")
    killed = [*_kill(options.rounds, options.seed)]
    started = [*_start_on_backlogs()]
    failed = [*_fail_calls()]
    late = "" if all(each.in_time for each in started) else " BUT the start took too long"
    _say(
        f"every promise held{late}: {sum(one.kills for one in killed)} kills with "
        f"{sum(one.answered for one in killed):,} deliveries answered and "
        f"{sum(one.executions for one in killed):,} executions, none lost, none repeated once it "
        f"had ended; {sum(one.injected for one in failed)} failed system calls; "
        f"SEED={options.seed}"
    )


def _kill(rounds: int, seed: int) -> Iterator[kills.Summary]:
    for start in range(0, rounds, KILLS_A_STORE):
        number = min(KILLS_A_STORE, rounds - start)
        yield _told("kill -9", partial(kills.attack, kills=number, seed=seed + start))


def _start_on_backlogs() -> Iterator[backlog.Summary]:
    for queued in (0, 100_000):
        yield _told("start", partial(backlog.attack, queued=queued))


def _fail_calls() -> Iterator[syscalls.Summary]:
    if (reason := syscalls.obstacle()) is not None:
        _say(f"system calls: SKIPPED, {reason}")
        return
    for fault in FAULTS:
        yield _told("system calls", partial(syscalls.attack, fault=fault, counts=count(1)))


def _told(what: str, attack: Callable[[Path], T]) -> T:
    """Attack a store of its own; say what it came to, and how long it took."""
    began = time.monotonic()
    with short_home() as home:
        summary = attack(home)
    _say(f"{what}: {summary}; {time.monotonic() - began:.0f} s")
    return summary


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the report


main()
