"""When Python looks for garbage that reference counts do not free."""

import gc
from typing import Final

__all__ = ["expect_garbage", "expect_no_garbage"]

ALLOCATIONS: Final = 20_000
"""Objects that are made, beyond those that are freed, before the young ones are looked through."""

YOUNGER_LOOKS: Final = 20
"""Looks through one generation before the next older one is looked through, too."""


def expect_no_garbage() -> None:
    """Look for none: what a start makes lives as long as the process."""
    gc.disable()


def expect_garbage() -> None:
    """Look for garbage from now on, but not among what is there now.

    That is every library and task, a hundred thousand objects; to look through them again and
    again took a fifth of the processor time, and held answers up.
    """
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, YOUNGER_LOOKS, YOUNGER_LOOKS)
    gc.enable()
