"""The control socket: who may connect, and what a connection may do."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from service.actors.control import (
    CONNECTIONS_MAX,
    ENVELOPE_BYTES,
    IDLE_SECONDS,
    PLACE_SECONDS,
    WAITING_MAX,
    open_control_socket,
    run_control,
)
from service.client import ANSWER_SECONDS
from service.core.errors import ConfigError
from service.desk import Desk
from service.messages import CopyPages, GetRun, ListRuns, RunFilter
from service.protocol import Refusal, read_verdict, write_question
from service.settings import read_settings
from service.tasks.loading import Workload
from service.vault import Vault
from tests.stores import Clock, enqueue, store_behind_door

PAYLOAD_MAX: Final = 1000
EVERY_RUN: Final = ListRuns(RunFilter())
MANY: Final = 400


@asynccontextmanager
async def at_control(home: Path) -> AsyncIterator[Path]:
    """Hold a control actor over a store with one run; return its socket's path."""
    path = home / "control.sock"
    async with store_behind_door(now=Clock()) as door:
        await door.ask(enqueue())
        desk = Desk(
            door=door.clone(),
            workload=Workload({}, ()),
            vault=Vault(door, None),
            cancel_attempt=lambda _: None,
            now=Clock(),
        )
        with open_control_socket(path) as listener:
            async with trio.open_nursery() as nursery:  # noqa: ASYNC101 - the fixture of one test
                nursery.start_soon(
                    lambda: run_control(listener, desk, payload_max_bytes=PAYLOAD_MAX)
                )
                yield path
                nursery.cancel_scope.cancel()


async def rest_of(stream: trio.SocketStream) -> bytes:
    """Return what comes until the service hangs up."""
    received = b""
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass  # it hung up with our bytes unread
    return received


async def line_of(stream: trio.SocketStream) -> bytes:
    received = b""
    while not received.endswith(b"\n"):
        received += await stream.receive_some()
    return received


def test_only_the_owner_may_connect(home: Path) -> None:
    """The socket has mode 0600 whatever the umask, and is gone at the end; the umask is kept."""
    path = home / "folder" / "control.sock"
    before = os.umask(0)
    try:
        with open_control_socket(path):
            assert path.stat().st_mode & 0o777 == 0o600
            assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert not path.exists()


def test_socket_out_of_reach_at_the_end_stays(home: Path) -> None:
    """A folder that is gone, closed or read-only by then does not spoil the exit code."""
    folder = home / "folder"
    with open_control_socket(folder / "control.sock"):
        folder.rename(home / "aside")
        folder.touch()
    assert (home / "aside" / "control.sock").is_socket()


def test_socket_of_a_dead_service_is_replaced(home: Path) -> None:
    """What a kill left behind does not stop the next start."""
    path = home / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    assert path.is_socket()
    with open_control_socket(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_socket_of_a_living_service_is_refused(home: Path) -> None:
    """The second service learns that there is one, and the first keeps its socket."""
    path = home / "control.sock"
    with open_control_socket(path):
        with pytest.raises(ConfigError, match="another service answers there"):
            open_control_socket(path).__enter__()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))


def test_file_that_is_no_socket_is_left_alone(home: Path) -> None:
    """A path that names something else is refused, and the file stays."""
    path = home / "control.sock"
    path.write_text("dear")
    with pytest.raises(ConfigError, match="CONTROL_SOCKET"):
        open_control_socket(path).__enter__()
    assert path.read_text() == "dear"


def test_path_may_be_as_long_as_settings_allow(home: Path) -> None:
    """The bound is that of the system, in bytes."""
    folder = home / ("é" * 20)
    path = folder / ("x" * (107 - len(os.fsencode(folder)) - 1))
    with open_control_socket(read_settings({"CONTROL_SOCKET": str(path)}).control_socket):
        assert path.is_socket()


async def test_questions_are_answered_in_turn(home: Path) -> None:
    """A connection may ask again, and may send the next question before the first is answered."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(write_question(EVERY_RUN))
        (run,) = read_verdict(EVERY_RUN, await line_of(stream)).runs
        question = GetRun(run.id)
        await stream.send_all(write_question(question) * 2)
        await stream.send_eof()
        first, second = (await rest_of(stream)).splitlines()
        assert read_verdict(question, first) == read_verdict(question, second) == run


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"garbage\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b'{"ask": 1}\n',
        b'{"ask": "Nonsense"}\n',
        b'{"ask": ["GetRun"]}\n',
        b'{"ask": "GetRun"}\n',
        b'{"ask": "GetRun", "with": {"run_id": NaN}}\n',
        b'{"ask": "ListRuns", "with": {"filter": {"limit": 100000000000000000000}}}\n',
        b'{"ask": "ListRuns", "with": {"filter": {"limit": "x"}}}\n',
        b'{"ask": "Enqueue", "with": {}}\n',
        b"[" * 500 + b"\n",
        b'{"ask": "GetRun", "with": {"run_id": "\\ud800"}}\n',
    ],
)
async def test_garbage_is_refused_and_the_connection_goes_on(home: Path, line: bytes) -> None:
    """Whatever a line holds, its asker gets a refusal that says why, and may ask again."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(line)
        with pytest.raises(Refusal) as refused:
            read_verdict(EVERY_RUN, await line_of(stream))
        assert str(refused.value)
        await stream.send_all(write_question(EVERY_RUN))
        assert len(read_verdict(EVERY_RUN, await line_of(stream)).runs) == 1


async def test_questions_for_the_house_alone_are_not_asked_here(home: Path) -> None:
    """The socket has a list of what it takes: the store's other questions are none of it."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(write_question(CopyPages(home / "copy")))
        with pytest.raises(Refusal, match="not a question; expected one of"):
            read_verdict(EVERY_RUN, await line_of(stream))


async def test_line_without_end_is_cut_off(home: Path) -> None:
    """A line may be as long as a payload and a question; then the service hangs up."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b"x" * (PAYLOAD_MAX + ENVELOPE_BYTES + 1))
        assert await rest_of(stream) == b""
        async with await trio.open_unix_socket(path) as other:
            await other.send_all(write_question(EVERY_RUN))
            assert len(read_verdict(EVERY_RUN, await line_of(other)).runs) == 1


async def test_slow_client_is_hung_up_on(home: Path, mock_clock: MockClock) -> None:
    """Who begins a line and does not end it loses the connection, and nobody else notices."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as slow:
        await slow.send_all(b'{"ask": ')
        await wait_all_tasks_blocked()
        async with await trio.open_unix_socket(path) as other:
            await other.send_all(write_question(EVERY_RUN))
            assert len(read_verdict(EVERY_RUN, await line_of(other)).runs) == 1
        mock_clock.jump(IDLE_SECONDS + 1)
        assert await rest_of(slow) == b""


async def test_client_that_leaves_hurts_nobody(home: Path) -> None:
    """A client that hangs up before its answer is forgotten."""
    async with at_control(home) as path:
        for _ in range(2 * CONNECTIONS_MAX):
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(write_question(EVERY_RUN) * 3)
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(write_question(EVERY_RUN))
            assert len(read_verdict(EVERY_RUN, await line_of(stream)).runs) == 1


async def test_client_that_does_not_read_is_hung_up_on(
    home: Path, autojump_clock: MockClock
) -> None:
    """Who asks on and on and takes no answer loses the connection, and its place."""
    async with at_control(home) as path, await trio.open_unix_socket(path) as deaf:
        await deaf.send_all(write_question(EVERY_RUN) * MANY)
        await trio.sleep(2 * IDLE_SECONDS)
        assert (await rest_of(deaf)).count(b"\n") < MANY
    assert autojump_clock.current_time() < 4 * IDLE_SECONDS


async def test_connections_that_hang_make_room_for_others(
    home: Path, mock_clock: MockClock
) -> None:
    """However long a client holds its places, a command is answered by the next idle bound."""
    async with at_control(home) as path, crowd(path, CONNECTIONS_MAX), crowd(path, 1) as [one]:
        await one.send_all(write_question(EVERY_RUN))
        await wait_all_tasks_blocked()
        mock_clock.jump(IDLE_SECONDS + 1)
        assert len(read_verdict(EVERY_RUN, await line_of(one)).runs) == 1


async def test_connection_that_finds_no_place_is_told(home: Path, mock_clock: MockClock) -> None:
    """When all places are at work, it hears so before the command gives up."""
    assert PLACE_SECONDS < ANSWER_SECONDS
    async with (
        at_control(home) as path,
        crowd(path, CONNECTIONS_MAX) as busy,
        crowd(path, 1) as [late],
    ):
        await late.send_all(write_question(EVERY_RUN))
        for _ in range(3):
            for stream in busy:
                await stream.send_all(write_question(EVERY_RUN))
                await line_of(stream)
            mock_clock.jump(PLACE_SECONDS / 2 - 1)
        with pytest.raises(Refusal, match="32 other commands are connected"):
            read_verdict(EVERY_RUN, await line_of(late))


async def test_connections_that_would_wait_in_thousands_are_told_at_once(home: Path) -> None:
    """Descriptors are left for webhooks."""
    async with at_control(home) as path, crowd(path, CONNECTIONS_MAX + WAITING_MAX):
        await wait_all_tasks_blocked()
        async with await trio.open_unix_socket(path) as late:
            with pytest.raises(Refusal, match="32 other commands are connected"):
                read_verdict(EVERY_RUN, await line_of(late))


@asynccontextmanager
async def crowd(path: Path, size: int) -> AsyncIterator[list[trio.SocketStream]]:
    """Hold so many connections."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(await trio.open_unix_socket(path)) for _ in range(size)
        ]


async def test_connections_beyond_the_limit_wait(home: Path) -> None:
    """A place that becomes free is taken by who has waited."""
    async with at_control(home) as path:
        streams = [await trio.open_unix_socket(path) for _ in range(CONNECTIONS_MAX + 1)]
        for stream in streams[:-1]:
            await stream.send_all(write_question(EVERY_RUN))
            await line_of(stream)
        await streams[-1].send_all(write_question(EVERY_RUN))
        await wait_all_tasks_blocked()
        await streams[0].aclose()
        assert len(read_verdict(EVERY_RUN, await line_of(streams[-1])).runs) == 1
        for stream in streams:
            await stream.aclose()
