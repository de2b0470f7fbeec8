"""`service trigger`, `retry` and `cancel`: to begin a run by hand, and to end one."""

import os
import sys
from pathlib import Path

import click

from service.cli.console import as_json_option, print_json
from service.cli.finding import no_run, run_argument, whole_id
from service.cli.jobs import job_argument
from service.cli.reading import print_run
from service.cli.waiting import UNFINISHED, wait_for_end
from service.client import ask, ask_service
from service.core.run import Status
from service.core.wire import NotJson, decode, encode
from service.messages import CancelRun, RetryRun, TriggerRun
from service.settings import Settings, read_settings

__all__ = ["cancel", "retry", "trigger"]

_wait_option = click.option(
    "--wait", is_flag=True, help="Wait for its end; exits with 1 if it is not ok."
)


@click.command()
@job_argument
@click.option(
    "--payload", default="null", metavar="JSON|@FILE|-", help="JSON, a file of it, or stdin."
)
@_wait_option
@as_json_option(help="Print a JSON object.")
def trigger(job_id: str, *, payload: str, wait: bool, as_json: bool) -> None:
    """Run the task JOB now, with a payload as a webhook would bring it."""
    settings = read_settings(os.environ)
    order = TriggerRun(job_id, _json(payload, settings.webhook_max_body_bytes))
    _follow_up(settings, ask_service(settings, order), wait=wait, as_json=as_json)


@click.command()
@run_argument
@_wait_option
@as_json_option(help="Print a JSON object.")
def retry(run_id: str, *, wait: bool, as_json: bool) -> None:
    """Run again what RUN ran: the same task and payload in a new run.

    What became of RUN stays as it is. A run that has not ended is refused.
    """
    settings = read_settings(os.environ)
    order = RetryRun(whole_id(settings, run_id))
    _follow_up(settings, ask_service(settings, order), wait=wait, as_json=as_json)


@click.command()
@run_argument
@as_json_option(help="Print a JSON object.")
def cancel(run_id: str, *, as_json: bool) -> None:
    """End RUN as cancelled: a queued one never runs, a running one is interrupted.

    Exits with 1 if it had ended before.
    """
    settings = read_settings(os.environ)
    found = whole_id(settings, run_id)
    cancelled = ask(settings, CancelRun(found))
    if cancelled is None:
        raise no_run(found)
    if cancelled.was not in UNFINISHED:
        raise click.ClickException(f"run {found} had already ended: {cancelled.was}")
    if as_json:
        print_json({"runId": found, "jobId": cancelled.job_id, "was": cancelled.was.value})
    else:
        click.echo(f"run {found} of {cancelled.job_id} is cancelled; it was {cancelled.was}")


def _json(given: str, most_bytes: int) -> str:
    """Return the JSON that is meant, in compact form."""
    try:
        text = _text(given)
        payload = encode(decode(text))
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{given[1:]}: {error}", param_hint="--payload") from None
    except NotJson as error:
        hint = 'such as \'{"name": "Ada"}\', @file or -'
        raise click.BadParameter(f"not JSON: {error}; {hint}", param_hint="--payload") from None
    if len(payload.encode()) > most_bytes:
        raise click.BadParameter(
            f"has more than {most_bytes} bytes, the most that WEBHOOK_MAX_BODY_BYTES allows",
            param_hint="--payload",
        )
    return payload


def _text(given: str) -> str | bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    return Path(given[1:]).read_bytes() if given.startswith("@") else given


def _follow_up(settings: Settings, run_id: str, *, wait: bool, as_json: bool) -> None:
    """Tell of the run that was made, or wait for its end and tell of that."""
    if not wait:
        if as_json:
            print_json({"runId": run_id})
        else:
            click.echo(run_id)
        return
    status = wait_for_end(settings, run_id)
    print_run(settings, run_id, as_json=as_json)
    if status is not Status.OK:
        sys.exit(1)
