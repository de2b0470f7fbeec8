"""What a line of the log promises to those who read it."""

import json
import logging
import math
import os
import threading
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from service.core.wire import Json
from service.observability.lines import LINE_BYTES, json_line
from service.observability.logs import bound, get_logger, logging_to
from service.settings import LogFormat

log = get_logger("tests.logs")


def written(
    path: Path,
    act: Callable[[], object],
    *,
    level: str = "info",
    format: LogFormat = LogFormat.JSON,  # noqa: A002 - as in logging_to
) -> str:
    """Return what the log holds after `act`."""
    with path.open("wb") as file, logging_to(file.fileno(), level=level, format=format):
        act()
    return path.read_text()


def line(path: Path, act: Callable[[], object], *, level: str = "info") -> dict[str, Json]:
    """Return the only line that `act` logs."""
    (text,) = written(path, act, level=level).splitlines()
    value = json.loads(text)
    assert isinstance(value, dict)
    return value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_line_has_the_standard_fields_first_and_then_ours(path: Path) -> None:
    """A line is one JSON object: timestamp, level, message, logger, then bound and given fields."""
    found = line(path, lambda: log.bind(job_id="echo").info("run finished", duration_ms=1.5))
    assert list(found) == ["timestamp", "level", "message", "logger", "job_id", "duration_ms"]
    assert list(found.values())[1:] == ["info", "run finished", "tests.logs", "echo", 1.5]


def test_timestamp_is_rfc3339_in_utc_with_milliseconds() -> None:
    """The instant is in UTC and milliseconds whatever the zone of the machine."""
    at = datetime(2026, 2, 3, 4, 5, 6, 789_500, UTC).timestamp()
    assert json.loads(json_line(at, "info", {}))["timestamp"] == "2026-02-03T04:05:06.789Z"


def test_fields_bound_around_the_code_are_on_its_lines(path: Path) -> None:
    """What `bound` binds is on every line within, and on none after."""

    def act() -> None:
        with bound(run_id="r1"):
            log.info("within")
        log.info("after")

    within, after = (json.loads(text) for text in written(path, act).splitlines())
    assert within["run_id"] == "r1"
    assert "run_id" not in after


def test_no_name_comes_twice() -> None:
    """Of fields that are shown by one name the last counts: readers differ about the others."""
    event = {"level": 1, "level_": 2, "exception": 3, "exc_info": ValueError("x")}
    pairs = json.loads(json_line(0, "info", event), object_pairs_hook=list)
    names = [name for name, _ in pairs]
    assert sorted(names) == ["exception", "level", "level_", "message", "timestamp"]
    assert dict(pairs)["level_"] == 2


def test_a_field_never_hides_a_standard_one(path: Path) -> None:
    """Fields named like a standard field get another name, and none makes the call fail."""
    fields: dict[str, object] = {"level": 1, "message": 2, "timestamp": 3, "event": 4, "self": 5}
    found = line(path, lambda: log.info("said", **fields))
    assert (found["level"], found["message"]) == ("info", "said")
    assert (found["level_"], found["message_"], found["timestamp_"], found["self"]) == (1, 2, 3, 5)


def test_levels_below_the_setting_are_silent(path: Path) -> None:
    """`level` is the least that is written, for us and for the libraries."""

    def act() -> None:
        for logger in (log, logging.getLogger("library")):
            logger.debug("no")
            logger.info("no")
            logger.warning("yes")

    assert written(path, act, level="warning").count('"message":"yes"') == 2
    assert '"no"' not in path.read_text()


def test_current_span_is_named(path: Path) -> None:
    """A line within a span carries its ids in hexadecimal, as Tempo shows them."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        found = line(path, lambda: log.info("within"))
    assert found["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert found["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_exception_is_structured_and_has_no_local_variables(path: Path) -> None:
    """An exception is type, message, stack and cause; values of variables stay where they were."""

    def act() -> None:
        password = "canary-4711"
        try:
            try:
                raise KeyError("inner")  # noqa: TRY301 - the exception is the subject
            except KeyError as error:
                raise ExceptionGroup("outer", [ValueError(len(password))]) from error
        except ExceptionGroup:
            log.exception("failed")

    exception = line(path, act)["exception"]
    assert isinstance(exception, dict)
    assert exception["type"] == "ExceptionGroup"
    assert exception["exceptions"] == [{"type": "ValueError", "message": "11"}]
    assert exception["cause"]["type"] == "KeyError"  # type: ignore[index, call-overload] # as asserted
    assert "canary" not in path.read_text()
    assert "canary" not in written(path, act, format=LogFormat.CONSOLE)


def test_deep_recursion_and_huge_groups_stay_one_bounded_line(path: Path) -> None:
    """However deep the stack and however wide the group, the line can be passed on in one piece."""

    def dive(depth: int) -> None:
        if depth == 0:
            raise ExceptionGroup("g" * 10_000, [ValueError("x" * 10_000)] * 500)
        dive(depth - 1)

    def act() -> None:
        try:
            dive(300)
        except ExceptionGroup:
            log.exception("failed")

    found = line(path, act)
    assert path.stat().st_size <= LINE_BYTES
    assert found["message"] == "failed"
    assert "more" in json.dumps(found["exception"])


class Hostile:
    """An object whose every conversion raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.builds(lambda: 10**5000)
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.builds(Hostile)
    | st.builds(lambda: "x" * 20_000),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=())) | st.integers(), inner)
    ),
    max_leaves=20,
)


@settings(max_examples=50)
@example(message="\x7f", fields={"\x7f": "\x7f", "n": math.nan, "i": [math.inf], "j": -math.inf})
@given(
    message=st.text(st.characters(exclude_categories=())),
    fields=st.dictionaries(st.text(st.characters(exclude_categories=())), hostile),
)
def test_no_value_breaks_a_line(message: str, fields: dict[str, object]) -> None:
    """Whatever a caller passes is one line of strict, printable, bounded JSON."""
    found = json_line(0.0, "info", {**fields, "event": message})
    assert len(found) <= LINE_BYTES
    (text,) = found.decode().splitlines()
    assert text.isprintable()
    parsed = json.loads(text, parse_constant=pytest.fail)
    assert parsed["level"] == "info"
    json.dumps(parsed, ensure_ascii=False).encode()  # fails on a lone surrogate


def test_a_list_that_holds_itself_is_cut(path: Path) -> None:
    """A value without end is shown to a bounded depth."""
    endless: list[object] = []
    endless.append(endless)
    assert "<list of 1>" in json.dumps(line(path, lambda: log.info("said", value=endless)))


def test_a_line_shows_its_values_as_they_were(path: Path) -> None:
    """A value that changes after it was logged changes nothing in the log."""

    def act() -> None:
        values: list[int] = []
        for number in range(100):
            values.append(number)
            log.info("said", values=values)

    lines = [json.loads(text) for text in written(path, act).splitlines()]
    assert [len(line["values"]) for line in lines] == list(range(1, 101))


def test_a_line_too_long_loses_fields_and_says_how_many(path: Path) -> None:
    """Of a line beyond the limit the standard fields stay, and the number of those left out."""
    fields: dict[str, object] = {f"f{number}": "é" * 4000 for number in range(10)}
    found = line(path, lambda: log.info("said", **fields, last=1))
    assert path.stat().st_size <= LINE_BYTES
    assert (found["message"], found["last"], found["cut"]) == ("said", 1, 8)


def test_libraries_speak_in_the_same_shape(path: Path) -> None:
    """What goes through the standard library, and its warnings, are lines like ours."""

    def act() -> None:
        logging.getLogger("hypercorn.error").warning("slow %s", "client")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    logged, warned = (json.loads(text) for text in written(path, act).splitlines())
    assert (logged["logger"], logged["message"]) == ("hypercorn.error", "slow client")
    assert (warned["logger"], warned["category"]) == ("py.warnings", "DeprecationWarning")


def test_a_library_that_logs_badly_is_still_heard(path: Path) -> None:
    """Arguments that do not fit their template cost the arguments, not the line."""
    found = line(path, lambda: logging.getLogger("library").error("%d of %d", "one"))  # noqa: PLE1206 - the fault is the subject
    assert found["message"] == "%d of %d"


def test_libraries_that_log_headers_are_quiet_at_debug(path: Path) -> None:
    """At debug, HTTP/2 and HTTP clients would write secrets into the log: they may not."""
    assert not written(path, lambda: logging.getLogger("hpack.hpack").debug("key"), level="debug")
    assert not written(path, lambda: logging.getLogger("urllib3").info("key"), level="debug")
    assert written(path, lambda: logging.getLogger("own.tasks").debug("seen"), level="debug")


def test_a_thread_that_dies_is_logged(path: Path) -> None:
    """An error that no one catches in a thread is a line, not text on stderr."""

    def act() -> None:
        thread = threading.Thread(target=int, args=("x",), name="worker")
        thread.start()
        thread.join()

    found = line(path, act)
    assert (found["level"], found["thread"]) == ("error", "worker")


def test_structlogs_own_capture_works(path: Path) -> None:
    """A test may use `capture_logs`; nothing is written meanwhile."""

    def act() -> None:
        with structlog.testing.capture_logs() as captured:
            log.bind(a=1).info("said", b=2)
        assert captured == [
            {"logger": "tests.logs", "a": 1, "b": 2, "event": "said", "log_level": "info"}
        ]

    assert not written(path, act)


def test_structlogs_own_loggers_write_the_same_lines(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What a library logs by structlog is one of our lines, and is written nowhere else."""
    with structlog.contextvars.bound_contextvars(c=3):
        found = line(path, lambda: structlog.get_logger().bind(a=1).warning("said", b=2))
    told = [found[name] for name in ("level", "message", "a", "b", "c")]
    assert told == ["warning", "said", 1, 2, 3]
    assert capfd.readouterr() == ("", "")


def test_console_escapes_what_drives_a_terminal(path: Path) -> None:
    """No value and no exception can clear the screen or fake a line of a person's console."""

    def act() -> None:
        try:
            raise ValueError("\x1b[2J")  # noqa: TRY301 - the exception is the subject
        except ValueError:
            log.exception("a\nb", field="\x1b[2J", **{"k\n": "\x9b"})

    text = written(path, act, format=LogFormat.CONSOLE)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "a\\nb" in text.splitlines()[0]


@pytest.mark.parametrize("format", [LogFormat.AUTO, LogFormat.JSON])
def test_auto_is_json_unless_it_is_a_terminal(path: Path, format: LogFormat) -> None:  # noqa: A002 - as in logging_to
    """A pipe or a file gets JSON, a terminal gets colours."""
    assert written(path, lambda: log.info("said"), format=format).startswith("{")
    ours, theirs = os.openpty()
    try:
        with logging_to(theirs, level="info", format=format):
            log.info("said")
        assert os.read(ours, 100).startswith(b"{") == (format == LogFormat.JSON)
    finally:
        os.close(ours)
        os.close(theirs)


def test_outside_logging_to_warnings_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """A fault before the log is set up is not lost; what is less is not said."""
    log.info("no")
    log.warning("yes")
    captured = capfd.readouterr()
    assert "yes" in captured.err
    assert "no" not in captured.out + captured.err
