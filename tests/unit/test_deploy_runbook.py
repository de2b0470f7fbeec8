"""The runbook says what the service can do."""

import re
from typing import Final

import click
import pytest

from service.cli import main
from service.settings import variables
from tests.harness import ROOT

RUNBOOK: Final = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
CALLED: Final = sorted(set(re.findall(r"\$SERVICE (\w+)", RUNBOOK)))


def test_the_runbook_calls_the_service() -> None:
    """There are commands to be held to the code."""
    assert len(CALLED) > 8


@pytest.mark.parametrize("name", CALLED)
def test_commands_exist(name: str) -> None:
    """Each command of the runbook is a command, with the options that it is given."""
    assert isinstance(main, click.Group)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = {option for param in command.params for option in param.opts}
    given = re.findall(rf"\$SERVICE {name}([^`\n]*)", RUNBOOK)
    assert {word for words in given for word in re.findall(r"--[\w-]+", words)} <= options


def test_variables_exist() -> None:
    """Each variable that the runbook names is a setting."""
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=\w+)?`", RUNBOOK))
    assert named
    assert named <= {variable.name for variable in variables()}
