"""How output looks: plain columns, whole values, colour only on a terminal."""

import json
import sys
from functools import partial
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Table

from service.core.wire import Json

__all__ = ["as_json_option", "pretty", "print_json", "print_table"]

as_json_option = partial(click.option, "--json", "as_json", is_flag=True)
"""The option that every command has which prints facts; give it a `help`."""

_WIDE: Final = 10_000
"""Into a pipe or a file nothing is folded, so that grep finds whole values."""


def print_table(table: Table) -> None:
    """Print a table; text in it is never taken for markup."""
    table.box = box.SIMPLE_HEAD
    table.title_justify = "left"
    table.pad_edge = False
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    console.print(table)


def print_json(value: Json) -> None:
    """Print JSON: indented for a person, on one line for a program."""
    click.echo(pretty(value) if sys.stdout.isatty() else json.dumps(value))


def pretty(value: Json) -> str:
    """Return JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
