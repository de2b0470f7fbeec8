"""What a shell offers, and the face of every command."""

from pathlib import Path

import pytest

from service.cli import main
from tests.harness import Service, launch, serving

JOBS = """
from service import Context, task

@task("greet")
async def greet(ctx: Context) -> None:
    pass
"""


def offered(service: Service, *words: str) -> list[str]:
    """Return what bash is offered for the last word."""
    asked = {"_SERVICE_COMPLETE": "bash_complete", "COMP_WORDS": "service " + " ".join(words)}
    service.environ = {**service.environ, **asked, "COMP_CWORD": str(len(words))}
    done = service.command()
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_jobs_and_runs_are_completed(home: Path) -> None:
    """From the running service; jobs also from the module, when none runs."""
    with serving(home, JOBS) as service:
        run_id = service.post({"jobId": "greet"}).headers["X-Run-Id"]
        assert offered(service, "trigger", "g") == ["greet"]
        assert offered(service, "show", run_id[:8]) == [run_id]
        assert offered(service, "ver") == ["verify"]
        assert offered(service, "show", "\udcff") == []
        assert offered(service, "show", "\udcff", "0") == []
        assert service.stop() == 0
    assert offered(service, "show", "\udcff") == []
    assert offered(service, "pause", "e") == ["echo"]


def test_a_shell_is_never_disturbed(home: Path) -> None:
    """Whatever is wrong, nothing is offered, and nothing is said."""
    nowhere = launch(home, "raise OSError", RUNNERS="none")
    nowhere.kill()
    assert offered(nowhere, "trigger", "g") == []
    assert offered(nowhere, "show", "0") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(home: Path, shell: str) -> None:
    """It names the variable that click listens to."""
    nowhere = launch(home)
    nowhere.kill()
    done = nowhere.command("completion", shell)
    assert done.returncode == 0
    assert f"_SERVICE_COMPLETE={shell}_complete" in done.stdout


def test_every_command_is_explained() -> None:
    """Each command has help."""
    context = main.make_context("service", ["--help"], resilient_parsing=True)
    names = main.list_commands(context)
    assert len(names) > 15
    for name in names:
        command = main.get_command(context, name)
        assert command is not None
        assert command.help
