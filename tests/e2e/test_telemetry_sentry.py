"""Errors as Sentry receives them."""

import json
import logging
import threading
from pathlib import Path
from typing import cast

import attrs
import sentry_sdk
import trio

from service.core.results import error
from service.core.run import Failure
from service.core.wire import Json
from service.observability.logs import logging_to
from service.observability.sentry import capture_crash, capture_failure, run_scope
from service.observability.telemetry import telemetry
from service.observability.traces import attempt_span
from service.settings import LogFormat, Secret, Settings
from tests.facts import RUN
from tests.receivers import Receiver

Event = dict[str, dict[str, Json]]


def settings(receiver: Receiver) -> Settings:
    return Settings(otlp_endpoint=receiver.traces_url, sentry_dsn=Secret(receiver.dsn))


def events(receiver: Receiver) -> list[Event]:
    return cast("list[Event]", receiver.events)


def raised(error: Exception) -> Exception:
    """Return `error` with a stack, as from a task with a secret in a local variable."""
    secret = "canary-local"  # noqa: F841 - a canary
    try:
        raise error  # noqa: TRY301 - as above
    except Exception as caught:  # noqa: BLE001 - the error is the subject
        return caught


def test_a_failed_run_is_one_event_that_leads_to_its_run_and_trace() -> None:
    """The event has the run's tags, the ids of its span, and is grouped by job and type."""
    run = attrs.evolve(RUN, attempt=4)
    with Receiver() as receiver:
        with telemetry(settings(receiver)), attempt_span(run) as attempt, run_scope(run):
            capture_failure(run, Failure("boom", exception=raised(KeyError("boom"))))
            attempt.end()
        (event,) = events(receiver)
        span = receiver.span("attempt echo")
    assert event["tags"] == {
        "job_id": "echo",
        "run_id": "run-1",
        "trigger": "webhook",
        "attempt": "4",
    }
    assert event["contexts"]["trace"] == {"trace_id": span.trace_id, "span_id": span.span_id}
    assert event["fingerprint"] == cast("object", ["echo", "KeyError"])


def test_a_failure_without_an_exception_is_an_event_too() -> None:
    """A timeout and a task's own verdict have no exception; their message is the event."""
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            capture_failure(RUN, Failure("task 'echo' timed out after 30 s", timed_out=True))
            capture_failure(RUN, error("no such repository"))
        timeout, verdict = events(receiver)
    assert "timed out after 30 s" in json.dumps(timeout)
    assert "no such repository" in json.dumps(verdict)
    assert timeout["fingerprint"] != verdict["fingerprint"]


def test_a_group_of_one_type_is_grouped_with_that_type() -> None:
    """What a nursery wraps is the failure that it would be without one."""
    group = ExceptionGroup("from a nursery", [KeyError("a"), ExceptionGroup("", [KeyError("b")])])
    mixed = ExceptionGroup("from a nursery", [KeyError("a"), OSError("b")])
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            for each in (group, mixed):
                capture_failure(RUN, Failure("x", exception=each))
        kinds = [cast("list[str]", event["fingerprint"])[1] for event in events(receiver)]
    assert kinds == ["KeyError", "ExceptionGroup"]


def test_no_secret_leaves_with_an_error() -> None:
    """No local variables, no query strings, no user of an address, no arguments, no log lines."""
    words = "GET https://canary-user:canary@example.org/x?token=canary-query failed"
    failure = raised(OSError(words))
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            logging.getLogger("library").error("canary-log")
            capture_failure(
                attrs.evolve(RUN, payload='"canary-payload"'), Failure("x", exception=failure)
            )
            capture_failure(RUN, error(words))
        event, verdict = events(receiver)
    # The frames show this file's source, which of course names the canaries.
    for shown in cast("list[Event]", event["exception"]["values"]):
        del shown["stacktrace"]
    for told in (event, verdict):
        assert "canary" not in json.dumps(told)
        assert "example.org/x" in json.dumps(told)


def test_frames_have_no_variables() -> None:
    """Sentry's default would send every local variable of every frame."""
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            capture_failure(RUN, Failure("x", exception=raised(ValueError("x"))))
        assert '"vars"' not in json.dumps(receiver.events)
        assert '"frames"' in json.dumps(receiver.events)


async def test_nothing_leaks_between_concurrent_runs() -> None:
    """What a task tells Sentry about itself is on its own events and on no others."""

    async def perform(name: str) -> None:
        with run_scope(attrs.evolve(RUN, id=name)):
            sentry_sdk.set_tag(f"by-{name}", "yes")
            await trio.lowlevel.checkpoint()
            sentry_sdk.capture_message("by the task itself")
            capture_failure(attrs.evolve(RUN, id=name), Failure("x", exception=ValueError()))

    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            async with trio.open_nursery() as nursery:
                for name in ("a", "b", "c"):
                    nursery.start_soon(perform, name)
            capture_crash(ValueError("after"))
        *of_runs, after = events(receiver)
    assert len(of_runs) == 6
    for event in of_runs:
        others = [tag for tag in event["tags"] if tag.startswith("by-")]
        assert others == [f"by-{event['tags']['run_id']}"]
    assert "tags" not in after or not after["tags"]


def test_what_ends_the_service_is_sent() -> None:
    """A crash is an event with every error that was part of it."""
    with Receiver() as receiver:
        with telemetry(settings(receiver)):
            capture_crash(ExceptionGroup("crash", [RuntimeError("the cron actor died")]))
        assert "the cron actor died" in json.dumps(receiver.events)


def test_a_thread_that_dies_is_sent_and_logged(tmp_path: Path) -> None:
    """An error that no one catches in a thread reaches both."""
    with Receiver() as receiver, (tmp_path / "log").open("wb") as file:
        with (
            logging_to(file.fileno(), level="info", format=LogFormat.JSON),
            telemetry(settings(receiver)),
        ):
            thread = threading.Thread(target=int, args=("x",), name="worker")
            thread.start()
            thread.join()
        (event,) = events(receiver)
    assert event["tags"] == {"thread": "worker"}
    assert "a thread died by an error" in (tmp_path / "log").read_text()


def test_without_a_dsn_nothing_happens_and_the_log_says_so_once(tmp_path: Path) -> None:
    """Unset is off, said in one line at the start; captures are then free."""
    with Receiver() as receiver, (tmp_path / "log").open("wb") as file:
        with (
            logging_to(file.fileno(), level="info", format=LogFormat.JSON),
            telemetry(Settings(otlp_endpoint=receiver.traces_url)),
            run_scope(RUN),
        ):
            capture_failure(RUN, Failure("x", exception=ValueError()))
            capture_crash(ValueError())
        assert receiver.requests == 0
    assert (tmp_path / "log").read_text().count("SENTRY_DSN is not set") == 1
