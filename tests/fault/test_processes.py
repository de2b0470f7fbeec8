"""Programs of a task are heard within bounds, and end with all that they started."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trio

from service.core.results import Result
from service.core.run import Failure, Suspended, Trigger
from service.observability.logs import get_logger
from service.tasks import processes
from service.tasks.context import Context
from service.tasks.execution import attempt
from service.tasks.processes import OUTPUT_MAX_BYTES, Finished, ProcessError
from service.tasks.registry import Registry

CTX: Final = Context(
    run_id="r1",
    job_id="build",
    attempt=1,
    max_attempts=1,
    trigger=Trigger.MANUAL,
    tick=None,
    log=get_logger("task.build"),
)

PATIENCE_SECONDS: Final = 20.0
"""For a loaded machine: what does not end within it would not end at all."""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_program_is_run_and_heard() -> None:
    """Its code and both its outputs are returned."""
    code = "import sys; print('out', input()); sys.stderr.write('err')"
    finished = await CTX.run_process(python(code), stdin=b"in")
    assert finished == {"code": 0, "stdout": "out in\n", "stderr": "err", "truncated": False}


async def test_a_program_runs_where_and_with_what_it_is_told(tmp_path: Path) -> None:
    """Folder and environment are the caller's; the rest of the environment stays."""
    code = "import os; print(os.getcwd(), os.environ['A'], 'PATH' in os.environ)"
    finished = await CTX.run_process(python(code), cwd=tmp_path, env={"A": "b"})
    assert finished["stdout"] == f"{tmp_path} b True\n"


async def test_a_failed_program_raises_what_it_said() -> None:
    """The message has the code and the end of stderr."""
    code = "import sys; sys.stderr.write('no such branch\\n'); sys.exit(3)"
    with pytest.raises(ProcessError, match=r"ended with code 3: no such branch$") as raised:
        await CTX.run_process(python(code))
    assert raised.value.finished["code"] == 3
    assert (await CTX.run_process(python(code), check=False))["code"] == 3


async def test_a_program_that_dies_by_a_signal_is_a_failure() -> None:
    """It is named by its signal."""
    with pytest.raises(ProcessError, match="was ended by SIGKILL"):
        await CTX.run_process(python("import os; os.kill(os.getpid(), 9)"))


async def test_a_program_that_is_not_there_is_an_error() -> None:
    """The error is the system's own."""
    with pytest.raises(FileNotFoundError):
        await CTX.run_process(["/nowhere/program"])


async def test_output_is_bounded() -> None:
    """A program that writes much is heard out, and the beginning is kept."""
    code = (
        "import sys; sys.stdout.write('x' * 50_000_000); "
        "sys.stderr.buffer.write(b'\\xc3\\xa9\\xff')"
    )
    finished = await CTX.run_process(python(code))
    assert finished["stdout"] == "x" * OUTPUT_MAX_BYTES
    assert finished["stderr"] == "é\N{REPLACEMENT CHARACTER}"
    assert finished["truncated"]


async def test_a_program_need_not_listen() -> None:
    """Input that nobody reads holds nothing up."""
    assert (await CTX.run_process(python("pass"), stdin=b"x" * 5_000_000))["code"] == 0


async def test_a_step_can_be_a_program() -> None:
    """What is returned is JSON, and typed."""
    finished: Finished = await CTX.step("look", CTX.run_process, python("print(1)"), timeout=20)
    assert finished["stdout"] == "1\n"


FAMILY: Final = "trap '' TERM; exec 3>{}; sleep 1000 & sh -c 'sleep 1000' & echo ready >&3; wait"
"""A program that ignores SIGTERM, and whose children hold a pipe open while they live."""


class Family:
    """A program with children, and the pipe that ends when all of them have ended."""

    def __init__(self, folder: Path) -> None:
        self._pipe = folder / "pipe"
        os.mkfifo(self._pipe)
        self.command = ["sh", "-c", FAMILY.format(self._pipe)]
        self._end: int | None = None

    async def begun(self) -> None:
        def read() -> None:
            self._end = os.open(self._pipe, os.O_RDONLY)
            assert os.read(self._end, 100) == b"ready\n"

        await trio.to_thread.run_sync(read)

    async def ended(self) -> None:
        """Wait until nobody holds the pipe any more."""
        assert self._end is not None
        with trio.fail_after(PATIENCE_SECONDS):
            await trio.lowlevel.wait_readable(self._end)
        assert os.read(self._end, 100) == b""
        os.close(self._end)


async def outcome_of(
    function: Callable[[Context], object], seconds: float = PATIENCE_SECONDS
) -> Result | Failure | Suspended:
    registry = Registry()
    registry.task("build")(function)
    [task] = registry
    threads = trio.CapacityLimiter(1)
    return await attempt(task, CTX, None, timeout_seconds=seconds, threads=threads)


async def test_a_cancelled_program_ends_with_its_children(tmp_path: Path) -> None:
    """A stop leaves no process behind, even of a program that ignores SIGTERM."""
    family = Family(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(CTX.run_process, family.command)
        await family.begun()
        nursery.cancel_scope.cancel()
    await family.ended()


async def test_a_step_that_times_out_ends_its_program(tmp_path: Path) -> None:
    """The time of the step is the program's, and its children's."""
    family = Family(tmp_path)

    async def step() -> None:
        with pytest.raises(TimeoutError, match="step 'build' timed out after 1 s"):
            await CTX.step("build", CTX.run_process, family.command, timeout=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(step)
        await family.begun()
    await family.ended()


async def test_what_a_program_leaves_behind_is_ended(tmp_path: Path) -> None:
    """A program that ends before its children takes them along, and is not waited for."""
    family = Family(tmp_path)
    command = ["sh", "-c", family.command[2].replace("wait", "exit 0")]
    finished: list[Finished] = []

    async def run() -> None:
        finished.append(await CTX.run_process(command))

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await family.begun()
    assert finished[0]["code"] == 0
    await family.ended()


async def test_a_program_that_obeys_may_clean_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM comes first, so that a program can remove its lock files, and say so meanwhile."""
    monkeypatch.setattr(processes, "TERM_SECONDS", PATIENCE_SECONDS)
    family = Family(tmp_path)
    lock = tmp_path / "lock"
    lock.touch()
    clean = f"trap 'echo cleaning up; echo >&2; rm {lock}; exit 0' TERM; exec 3>{tmp_path / 'pipe'}"
    command = ["sh", "-c", f"{clean}; echo ready >&3; while :; do sleep 0.01; done"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(CTX.run_process, command)
        await family.begun()
        nursery.cancel_scope.cancel()
    await family.ended()
    assert not lock.exists()


async def test_who_inherits_the_output_cannot_hold_a_stop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that left the group may keep the pipes open; a cancelled attempt hears no more."""
    monkeypatch.setattr(processes, "DRAIN_SECONDS", 2 * PATIENCE_SECONDS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = (
        "import subprocess, time; left = subprocess.Popen(['sleep', '1000'], "
        f"start_new_session=True); open({str(pipe)!r}, 'w').write(str(left.pid)); time.sleep(1000)"
    )
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(CTX.run_process, python(code))
            left = int(await trio.to_thread.run_sync(pipe.read_text))
            nursery.cancel_scope.cancel()
    os.kill(left, signal.SIGKILL)  # it still lives: it was never waited for


async def test_a_plain_function_can_ask_whether_it_is_still_wanted() -> None:
    """A loop in a thread ends when its attempt does."""
    ended = threading.Event()
    running = trio.Event()

    def work(ctx: Context) -> None:
        trio.from_thread.run_sync(running.set)
        try:
            while True:
                ctx.check_cancelled()
        finally:
            ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome_of, work)
        await running.wait()
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(ended.wait, PATIENCE_SECONDS)


async def test_a_plain_function_may_be_cancelled_by_its_time() -> None:
    """Leaving by `check_cancelled` is the timeout that it is."""

    def work(ctx: Context) -> None:
        while True:
            ctx.check_cancelled()

    assert await outcome_of(work, seconds=0.1) == Failure("task 'build' timed out after 0.1 s")
