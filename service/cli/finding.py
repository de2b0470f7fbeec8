"""From what an operator types to the run that is meant."""

import os
from typing import Final

import click

from service.client import Unreachable, ask
from service.core.errors import ConfigError, StoreRefused
from service.core.wire import is_unicode
from service.messages import FindRuns
from service.protocol import Refusal
from service.settings import Settings, read_settings

__all__ = ["no_run", "run_argument", "whole_id"]

_NAMED_MAX: Final = 5
_OFFERED_MAX: Final = 50


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


def _offered(_ctx: click.Context, _param: click.Parameter, given: str) -> list[str]:
    if not is_unicode(given):
        return []
    try:
        found = ask(read_settings(os.environ), FindRuns(given, _OFFERED_MAX))
    except (ConfigError, Refusal, StoreRefused, Unreachable):
        return []  # a shell in the middle of a word is no place for it
    return list(found)


run_argument = click.argument("run_id", metavar="RUN", shell_complete=_offered)
