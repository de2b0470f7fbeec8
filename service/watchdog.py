"""The last resort: a thread that ends the process when all else hangs."""

import faulthandler
import os
import sys
import threading
from typing import Final

__all__ = ["HARD_EXIT_CODE", "hard_exit_after"]

HARD_EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


def hard_exit_after(seconds: float) -> None:
    """End the process in `seconds`, unless it ends before; what hangs is shown on stderr.

    May be called again: the earliest end counts.
    """
    timer = threading.Timer(seconds, _exit)
    timer.daemon = True
    timer.start()


def _exit() -> None:
    sys.stderr.write("the service did not stop in time; ending it. What hung:\n")
    faulthandler.dump_traceback(all_threads=True)
    os._exit(HARD_EXIT_CODE)
