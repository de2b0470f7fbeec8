"""`make torture ROUNDS=500 SEED=7`: the attacks of the suite, as many rounds as asked."""

import argparse
import random
from collections.abc import Iterator
from itertools import count
from typing import Final

from tests.harness import short_home
from tests.torture import backlog, kills, syscalls
from tests.torture.syscalls import Fault

KILLS_A_STORE: Final = 50
"""So that many stores are tortured, and none grows beyond reason."""

FAULTS: Final = [
    *(Fault("pwrite64", error) for error in ("ENOSPC", "EIO")),
    *(Fault("fdatasync", error) for error in ("ENOSPC", "EIO")),
    *(Fault("ftruncate", error) for error in ("ENOSPC", "EIO")),
    *(Fault("openat", error) for error in ("ENOSPC", "EIO")),
    *(Fault(call, "EIO", stopping=True) for call in ("pwrite64", "fdatasync", "ftruncate")),
]


def main() -> None:
    """Attack, and print a summary of each attack; the first broken promise ends it."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="kills in all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"SEED={options.seed} ROUNDS={options.rounds}", flush=True)  # noqa: T201 - the report
    for line in _attacks(options.rounds, options.seed):
        print(line, flush=True)  # noqa: T201 - the report
    print("all promises held")  # noqa: T201 - the report


def _attacks(rounds: int, seed: int) -> Iterator[str]:
    for done in range(0, rounds, KILLS_A_STORE):
        with short_home() as home:
            number = min(KILLS_A_STORE, rounds - done)
            yield f"kill -9, {kills.attack(home, kills=number, seed=seed + done)}"
    with short_home() as home:
        yield f"backlog, {backlog.attack(home, queued=100_000)}"
    if (reason := syscalls.obstacle()) is not None:
        yield f"system calls: SKIPPED, {reason}"
        return
    for fault in FAULTS:
        with short_home() as home:
            yield f"system calls, {syscalls.attack(home, fault, count(1))}"


main()
