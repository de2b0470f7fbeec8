"""What happens when nobody reads the log, or reads it slowly."""

import fcntl
import json
import os
import resource
import select
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from service.observability.fault import Fault
from service.observability.logs import get_logger, logging_to
from service.observability.sink import MADE_TOGETHER, Sink
from service.settings import LogFormat


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with suppress(OSError):  # the test may have closed it
            os.close(end)


def lost_line(lines: int) -> bytes:
    return b"lost %d\n" % lines


def fill(descriptor: int) -> int:
    """Fill a pipe to its brim and return the bytes in it."""
    os.set_blocking(descriptor, False)
    size = 0
    for piece in (b"\n" * 4096, b"\n"):
        with suppress(BlockingIOError):
            while True:
                size += os.write(descriptor, piece)
    os.set_blocking(descriptor, True)
    return size


def read_all(descriptor: int) -> tuple[Thread, bytearray]:
    """Read in a thread until the other end closes."""
    got = bytearray()

    def read() -> None:
        while data := os.read(descriptor, 65536):
            got.extend(data)

    thread = Thread(target=read)
    thread.start()
    return thread, got


def test_lines_arrive_whole_and_in_order(pipe: tuple[int, int]) -> None:
    """Everything that was put before `close`, made or not, is written, once, in its order."""
    reader, got = read_all(pipe[0])
    sink = Sink(pipe[1], lost_line)
    lines = [b"%d %s\n" % (number, b"x" * 300) for number in range(3000)]
    for number, line in enumerate(lines):
        sink.put(line if number % 3 else partial(bytes, line))
    assert sink.close(10)
    os.close(pipe[1])
    reader.join()
    assert bytes(got) == b"".join(lines)


def test_no_line_waits_for_others(pipe: tuple[int, int]) -> None:
    """The last lines of a burst are written though no further one is put."""
    read, write = pipe
    sink = Sink(write, lost_line)
    expected = b"".join(b"%d\n" % number for number in range(3 * MADE_TOGETHER + 1))
    for text in expected.splitlines(keepends=True):
        sink.put(partial(bytes, text))
    arrived = select.poll()
    arrived.register(read, select.POLLIN)
    got = b""
    while len(got) < len(expected):
        assert arrived.poll(60_000)
        got += os.read(read, 65536)
    assert got == expected
    assert sink.close(60)


def test_a_stalled_reader_blocks_no_one_and_losses_are_counted(pipe: tuple[int, int]) -> None:
    """With a full pipe `put` returns; once read again, each line is there or reported lost."""
    read, write = pipe
    size = fill(write)
    sink = Sink(write, lost_line, buffer_bytes=1000)
    for _ in range(1000):
        sink.put(b"0123456\n")
    reader, got = read_all(read)
    assert sink.close(10)
    os.close(write)
    reader.join()
    *lines, last = bytes(got[size:]).split(b"\n")
    assert last == b""
    reports = [line for line in lines if line.startswith(b"lost ")]
    assert len(reports) == 1
    assert lines.count(b"0123456") + int(reports[0].split()[1]) == 1000
    assert int(reports[0].split()[1]) >= 1000 - 2 * (125 + MADE_TOGETHER)


def test_close_is_bounded_when_nobody_reads(pipe: tuple[int, int]) -> None:
    """A reader that stalls for ever costs the given time at the end and no more."""
    read, write = pipe
    size = fill(write)
    sink = Sink(write, lost_line)
    sink.put(b"stuck\n")
    assert not sink.close(0.01)
    reader, got = read_all(read)
    assert sink.close(10)
    os.close(write)
    reader.join()
    assert bytes(got[size:]) == b"stuck\n"


def test_a_closed_pipe_kills_nobody_and_the_loss_is_said_on_recovery() -> None:
    """EPIPE loses lines, not the process; once lines get out again, their number is said."""
    read, write = os.pipe()
    both_lost = Event()

    def lost_line_heard(lines: int) -> bytes:
        if lines == 2:
            both_lost.set()
        return lost_line(lines)

    sink = Sink(write, lost_line_heard)
    os.close(read)
    sink.put(b"a\n")
    sink.put(b"b\n")
    assert both_lost.wait(20)
    read_again, write_again = os.pipe()
    os.dup2(write_again, write)
    sink.put(b"c\n")
    assert sink.close(10)
    os.close(write)
    os.close(write_again)
    with os.fdopen(read_again, "rb") as reader:
        assert sorted(reader) == [b"c\n", b"lost 2\n"]


def test_a_non_blocking_descriptor_loses_nothing(pipe: tuple[int, int]) -> None:
    """Someone who shares stdout may have made it non-blocking: the writer waits for room."""
    read, write = pipe
    size = fill(write)
    fcntl.fcntl(write, fcntl.F_SETFL, os.O_NONBLOCK)
    sink = Sink(write, lost_line)
    sink.put(b"x" * 200_000 + b"\n")
    reader, got = read_all(read)
    assert sink.close(10)
    os.close(write)
    reader.join()
    assert bytes(got[size:]) == b"x" * 200_000 + b"\n"


def test_a_line_broken_by_a_failure_spoils_no_other(tmp_path: Path) -> None:
    """When a disk fills half-way through a line, the next line still begins a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    lost = Event()

    def lost_line_heard(lines: int) -> bytes:
        lost.set()
        return lost_line(lines)

    with (tmp_path / "log").open("ab") as file:
        sink = Sink(file.fileno(), lost_line_heard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
        try:
            sink.put(b"0123456789\n")
            assert lost.wait(20)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sink.put(b"next\n")
        assert sink.close(10)
    broken, *rest = (tmp_path / "log").read_bytes().splitlines()
    assert broken == b"01234"
    assert sorted(rest) == [b"lost 1", b"next"]


def test_a_line_may_be_put_from_within_put(pipe: tuple[int, int]) -> None:
    """A finalizer may log at any moment, also while its thread is putting a line: no deadlock."""
    read, write = pipe
    size = fill(write)  # so that the writer makes the first lines at most
    sink = Sink(write, lost_line)

    def interrupted() -> bytes:
        sink.put(b"finalized\n")
        return b"said\n"

    def put_all() -> None:
        for _ in range(3 * MADE_TOGETHER):
            sink.put(interrupted)

    putting = Thread(target=put_all, daemon=True)
    putting.start()
    putting.join(20)
    assert not putting.is_alive()
    reader, got = read_all(read)
    assert sink.close(10)
    os.close(write)
    reader.join()
    lines = bytes(got[size:]).splitlines()
    assert lines.count(b"said") == lines.count(b"finalized") == 3 * MADE_TOGETHER


def told_of_a_fault(
    pipe: tuple[int, int], happenings: Iterator[tuple[float, str]]
) -> list[dict[str, object]]:
    """Let a collector fail and work at these seconds; return what was said of it."""
    reader, got = read_all(pipe[0])
    times = [0.0]
    with logging_to(pipe[1], level="info", format=LogFormat.JSON):
        fault = Fault(
            get_logger("tests.fault"),
            broken="collector is gone",
            recovered="collector is back",
            clock=lambda: times[-1],
        )
        for at, what in happenings:
            times.append(at)
            fault.worked() if what == "works" else fault.failed(reason=what)
    os.close(pipe[1])
    reader.join()
    return [json.loads(line) for line in got.splitlines()]


def test_a_lasting_fault_is_two_lines(pipe: tuple[int, int]) -> None:
    """A fault is said when it begins and when it is over, however often it shows between."""
    failing = [(10.0 + number, f"reason {number}") for number in range(100)]
    began, ended = told_of_a_fault(
        pipe, iter([(9.0, "works"), *failing, (110.5, "works"), (111.0, "works")])
    )
    assert (began["message"], began["reason"]) == ("collector is gone", "reason 0")
    assert (ended["failures"], ended["seconds"]) == (100, 100.5)


def test_a_fault_that_comes_and_goes_is_no_storm(pipe: tuple[int, int]) -> None:
    """Every other delivery fails for two minutes: two lines a minute, and no failure uncounted."""
    lines = told_of_a_fault(
        pipe, ((second, "works" if second % 2 else "refused") for second in range(121))
    )
    said = [(line["message"], line.get("failures")) for line in lines]
    assert said == [
        ("collector is gone", None),
        ("collector is back", 1),
        ("collector is gone", None),
        ("collector is back", 30),
        ("collector is gone", None),
    ]
