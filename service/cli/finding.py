"""From what an operator types to the run that is meant."""

from typing import Final

import click

from service.client import ask
from service.messages import FindRuns
from service.settings import Settings

__all__ = ["no_run", "whole_id"]

_NAMED_MAX: Final = 5


def whole_id(settings: Settings, given: str) -> str:
    """Return the one id that begins with `given`. Raises ClickException if it is not one."""
    found = ask(settings, FindRuns(given, _NAMED_MAX)) if given else ()
    if not found:
        raise no_run(given)
    if len(found) > 1 and found[0] != given:
        listed = "\n".join(f"  {run_id}" for run_id in found)
        more = "" if len(found) < _NAMED_MAX else ", among them"
        raise click.ClickException(
            f"several runs have an id that begins with {given!r}{more}:\n{listed}\ngive more of it"
        )
    return found[0]


def no_run(given: str) -> click.ClickException:
    """Return the error that says so, and where to look."""
    return click.ClickException(f"there is no run {given!r}; `service runs` lists those there are")
