"""How output looks: plain columns, whole values, colour only on a terminal."""

import json
import sys
from functools import partial
from typing import Final

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table

from service.core.visible import visible_lines
from service.core.wire import Json

__all__ = [
    "add_row",
    "as_json_option",
    "ids",
    "pretty",
    "print_json",
    "print_table",
    "styled",
    "terminal",
]

as_json_option = partial(click.option, "--json", "as_json", is_flag=True)
"""The option that every command has which prints facts; give it a `help`."""

_WIDE: Final = 10_000
"""Into a pipe or a file nothing is folded, so that grep finds whole values."""


def styled(table: Table) -> Table:
    """Return the table with our looks."""
    table.box = box.SIMPLE_HEAD
    table.title_justify = "left"
    table.pad_edge = False
    return table


def ids(title: str) -> Column:
    """Return a column of ids, which a narrow terminal leaves whole: a part of one names no run."""
    return Column(title, no_wrap=True)


def add_row(table: Table, *cells: str | None) -> None:
    """Add a row; what could drive the terminal is escaped, for texts may come from anyone."""
    table.add_row(*(visible_lines(cell or "") for cell in cells))


def terminal() -> Console:
    """Return where tables go; text in them is never taken for markup, nor for an emoji."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_table(table: Table) -> None:
    """Print a table."""
    terminal().print(styled(table))


def print_json(value: Json, *, on_one_line: bool = False) -> None:
    """Print JSON: indented for a person, on one line for a program."""
    indented = sys.stdout.isatty() and not on_one_line
    click.echo(visible_lines(pretty(value)) if indented else json.dumps(value))


def pretty(value: Json) -> str:
    """Return JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
