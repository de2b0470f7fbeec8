"""What a command prints is for its reader alone: nobody else's text drives the terminal."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import service
from service.cli.console import add_row, ids, print_json, print_table, styled
from service.cli.waiting import Teller
from service.core.run import Status
from service.messages import Headway, Standing
from tests.facts import NOON

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e[bold]:warning:[/]"
HARMLESS = "\\u001b]0;owned\\u0007\\u009b31m\\u202e[bold]:warning:[/]"


def test_a_cell_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """What drives a terminal is escaped, markup and emoji are text, and lines stay lines."""
    table = Table("why")
    add_row(table, f"{HOSTILE}\nsecond line")
    print_table(table)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()][3:5] == [
        HARMLESS,
        "second line",
    ]


def test_every_row_is_added_so() -> None:
    """No command adds one in another way."""
    folder = Path(service.__file__).parent / "cli"
    adding = [path.name for path in folder.glob("*.py") if ".add_row(" in path.read_text("utf-8")]
    assert adding == ["console.py"]


def test_json_for_a_person_is_harmless_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal it has the letters of every language, and nothing that drives it."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_json({"Ä": HOSTILE})
    assert capsys.readouterr().out == f'{{\n  "Ä": "{HARMLESS}"\n}}\n'


def test_ids_are_whole_on_a_narrow_terminal() -> None:
    """A run can be named by what the table shows."""
    run_id = "01a20af9-ae91-7ba5-9243-5d5582d6e5b3"
    table = Table(ids("run"), "result")
    add_row(table, run_id, "long " * 20)
    out = StringIO()
    Console(file=out, width=60).print(styled(table))
    assert run_id in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_note_of_a_task_is_text(capsys: pytest.CaptureFixture[str], *, terminal: bool) -> None:
    """Whoever waits for a run sees what it notes, whatever that is."""
    standing = Standing(
        job_id="report",
        status=Status.RUNNING,
        attempt=1,
        max_attempts=1,
        due_at=NOON,
        job_paused=False,
        all_paused=False,
    )
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=200)
    with console.status("waiting") as spinner:
        Teller("run-1", spinner).tell(standing, Headway(done=1, total=2, note=HOSTILE, at=NOON))
    assert HARMLESS in (out.getvalue() if terminal else capsys.readouterr().err)
