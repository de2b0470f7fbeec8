"""How output looks: plain columns, whole values, colour only on a terminal."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]

_WIDE = 10_000
"""Into a pipe or a file nothing is folded, so that grep finds whole values."""


def print_table(table: Table) -> None:
    """Print a table; text in it is never taken for markup."""
    table.box = box.SIMPLE_HEAD
    table.title_justify = "left"
    table.pad_edge = False
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)
