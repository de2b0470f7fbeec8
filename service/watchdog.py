"""The last resort: a thread that ends the process when all else hangs."""

import faulthandler
import os
import sys
import threading
import time
from math import inf
from queue import Empty, SimpleQueue
from typing import Final

__all__ = ["HARD_EXIT_CODE", "Watchdog"]

HARD_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


class Watchdog:
    """Ends the process at the earliest of the times it was told."""

    def __init__(self) -> None:
        self._deadlines: SimpleQueue[float] = SimpleQueue()  # alone is safe in signal handlers
        self._exit_code = HARD_EXIT_CODE
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end_within(self, seconds: float) -> None:
        """End the process in `seconds`, unless it ends before; may be called by signal handlers."""
        self._deadlines.put(time.monotonic() + seconds)

    def nothing_is_left_but(self, exit_code: int) -> None:
        """Say that the work is done: only threads that tasks left behind can hang from now on."""
        self._exit_code = exit_code

    def _watch(self) -> None:
        deadline = inf
        while (wait := deadline - time.monotonic()) > 0:
            try:
                told = self._deadlines.get(timeout=min(wait, threading.TIMEOUT_MAX))
            except Empty:
                continue
            deadline = min(deadline, told)
        sys.stderr.write("the process did not end in time; ending it. What hung:\n")
        faulthandler.dump_traceback(all_threads=True)
        os._exit(self._exit_code)
