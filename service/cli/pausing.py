"""`service pause` and `service resume`: to let the runs of a job wait, also across restarts."""

import os
from collections.abc import Sequence

import click

from service.cli.console import as_json_option, print_json
from service.cli.jobs import known_task, optional_job_argument
from service.client import ask
from service.messages import ListPausedJobs, PauseJobs, ResumeJobs
from service.settings import read_settings

__all__ = ["pause", "resume"]

_every_job = click.option("--all", "every", is_flag=True, help="Every job, whatever it is called.")


@click.command()
@optional_job_argument
@_every_job
@as_json_option(help="Print a JSON object.")
def pause(job_id: str | None, *, every: bool, as_json: bool) -> None:
    """Let the runs of JOB wait until it is resumed, also across restarts.

    Webhooks are accepted and ticks accounted for as ever; runs that are running go on.
    """
    settings = read_settings(os.environ)
    _demand_one(job_id, every=every)
    if job_id is not None:
        known_task(settings, job_id)
    ask(settings, PauseJobs(job_id))
    _tell(ask(settings, ListPausedJobs()), as_json=as_json)


@click.command()
@optional_job_argument
@_every_job
@as_json_option(help="Print a JSON object.")
def resume(job_id: str | None, *, every: bool, as_json: bool) -> None:
    """Let the runs of JOB go on; --all ends every pause. Exits with 1 if it was not paused."""
    settings = read_settings(os.environ)
    _demand_one(job_id, every=every)
    if not ask(settings, ResumeJobs(job_id)):
        paused = _said(ask(settings, ListPausedJobs()))
        was = "" if job_id is None else f"{job_id} is not paused by itself; "
        raise click.ClickException(was + paused)
    _tell(ask(settings, ListPausedJobs()), as_json=as_json)


def _demand_one(job_id: str | None, *, every: bool) -> None:
    if (job_id is None) is not every:
        raise click.UsageError("give a JOB or --all")


def _tell(paused: Sequence[str | None], *, as_json: bool) -> None:
    if as_json:
        print_json({"paused": [job for job in paused if job is not None], "all": None in paused})
    else:
        click.echo(_said(paused))


def _said(paused: Sequence[str | None]) -> str:
    jobs = ", ".join(job for job in paused if job is not None)
    if None in paused:
        own = f", and by themselves {jobs}" if jobs else ""
        return f"every job is paused{own}; `service resume --all` lets all go on"
    return f"paused: {jobs}" if jobs else "no job is paused"
