"""`make torture ROUNDS=500 SEED=7`: the attacks of the suite, as many rounds as asked."""

import argparse
import random
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
    _say(f"SEED={options.seed} ROUNDS={options.rounds}")
    killed = _kill(options.rounds, options.seed)
    with short_home() as home:
        _say(f"backlog: {backlog.attack(home, queued=100_000)}")
    failed = _fail_calls()
    _say(
        f"every promise held: {sum(one.kills for one in killed)} kills with "
        f"{sum(one.answered for one in killed)} deliveries answered and "
        f"{sum(one.executions for one in killed)} executions; "
        f"{sum(one.injected for one in failed)} failed system calls; SEED={options.seed}"
    )


def _kill(rounds: int, seed: int) -> list[kills.Summary]:
    done = []
    for start in range(0, rounds, KILLS_A_STORE):
        with short_home() as home:
            number = min(KILLS_A_STORE, rounds - start)
            done.append(kills.attack(home, kills=number, seed=seed + start))
        _say(f"kill -9: {done[-1]}")
    return done


def _fail_calls() -> list[syscalls.Summary]:
    if (reason := syscalls.obstacle()) is not None:
        _say(f"system calls: SKIPPED, {reason}")
        return []
    done = []
    for fault in FAULTS:
        with short_home() as home:
            done.append(syscalls.attack(home, fault, count(1)))
        _say(f"system calls: {done[-1]}")
    return done


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - the report


main()
