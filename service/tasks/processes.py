"""Programs that a task runs: heard within bounds, and ended with all that they started.

Theory of operation
-------------------
A program gets a process group of its own, so that whatever it starts can be ended with it. It is
ended when its time is over, when the attempt is cancelled and when the service stops: asked first
(SIGTERM), and killed (SIGKILL) if it does not go at once. What is left of the group when the
program itself has ended is killed too: nothing of an attempt outlives it.

It is heard until it has ended, also when nobody wants its output any more: a program that says
something while it cleans up would die of a closed pipe (SIGPIPE) instead, and even a shell does
that says nothing of its own accord, of its children.

Output beyond its bound is read and thrown away, so that a program which writes much neither fills
the memory nor waits for a reader.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, TypedDict, cast

import attrs
import trio

__all__ = ["OUTPUT_MAX_BYTES", "TERM_SECONDS", "Finished", "ProcessError", "run_process"]

OUTPUT_MAX_BYTES: Final = 256 * 1024
"""Of stdout and of stderr each."""

TERM_SECONDS: Final = 0.25
"""From SIGTERM until SIGKILL; a runner waits so long for a program when the service stops."""

DRAIN_SECONDS: Final = 1.0
"""How long output is read after the program has ended: someone else may hold its other end."""

_TAIL: Final = 2_000


class Finished(TypedDict):
    """How a program ended: JSON, so that a step can return it."""

    code: int
    stdout: str
    stderr: str
    truncated: bool
    """Whether more was written than is kept."""


class ProcessError(Exception):
    """A program ended with another code than 0; `finished` is how."""

    def __init__(self, program: str, finished: Finished) -> None:
        code = finished["code"]
        how = f"was ended by {_signal(-code)}" if code < 0 else f"ended with code {code}"
        said = finished["stderr"].strip()[-_TAIL:]
        super().__init__(f"{program!r} {how}: {said}" if said else f"{program!r} {how}")
        self.finished = finished


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@attrs.define
class _Heard:
    limit: int
    kept: bytearray = attrs.field(factory=bytearray)
    truncated: bool = False

    async def hear(self, stream: trio.abc.ReceiveStream) -> None:
        async with stream:
            async for chunk in stream:
                room = self.limit - len(self.kept)
                self.kept += chunk[:room]
                self.truncated = self.truncated or len(chunk) > room

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


async def run_process(  # noqa: PLR0913 - what a program is started with
    command: Sequence[str],
    *,
    stdin: bytes = b"",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    max_bytes: int = OUTPUT_MAX_BYTES,
) -> Finished:
    """Run a program to its end; see `Context.run_process`."""
    out, err = _Heard(max_bytes), _Heard(max_bytes)
    try:
        process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else {**os.environ, **env},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        error.__traceback__ = None  # trio's part of it holds the error too, and us with it
        raise
    talk = trio.CancelScope(shield=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_talk, process, stdin, out, err, talk)
        try:
            await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
            talk.shield = False
            talk.deadline = trio.current_time() + DRAIN_SECONDS
    finished = Finished(
        code=process.returncode or 0,
        stdout=out.text(),
        stderr=err.text(),
        truncated=out.truncated or err.truncated,
    )
    if check and process.returncode != 0:
        raise ProcessError(command[0], finished)
    return finished


async def _talk(
    process: trio.Process, stdin: bytes, out: _Heard, err: _Heard, scope: trio.CancelScope
) -> None:
    with scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell, cast("trio.abc.SendStream", process.stdin), stdin)
            nursery.start_soon(out.hear, cast("trio.abc.ReceiveStream", process.stdout))
            nursery.start_soon(err.hear, cast("trio.abc.ReceiveStream", process.stderr))


async def _tell(stream: trio.abc.SendStream, data: bytes) -> None:
    with suppress(trio.BrokenResourceError):  # it need not listen
        async with stream:
            await stream.send_all(data)


async def _end(process: trio.Process) -> None:
    """End the program, if it has not ended, and its group; bounded, for SIGKILL cannot fail."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with trio.move_on_after(TERM_SECONDS):
            await process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left; or only zombies (macOS)
        os.killpg(group, number)
