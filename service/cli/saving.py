"""`service backup` and `service prune`: to keep what must not be lost, and forget what may be."""

import os
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from service.cli.console import as_json_option, print_json
from service.cli.facts import counted
from service.cli.times import past
from service.client import NoService, ask_service, open_file
from service.core.errors import BackupFailed
from service.core.wire import rfc3339
from service.messages import BackedUp, BackUp, Prune
from service.protocol import Progress
from service.settings import Settings, read_settings
from service.storage.backup import back_up_at_rest

__all__ = ["backup", "prune"]

BATCH: Final = 100
PAUSE_FACTOR: Final = 4.0
"""Pause after a batch, as a multiple of the time it took: webhooks come in between."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json_option(help="Print a JSON object.")
def backup(file: Path, *, as_json: bool) -> None:
    """Put a copy of the database at FILE, checked and whole, while the service goes on.

    FILE is on the service's machine; an earlier backup under that name is replaced. To restore
    one, stop the service and put the copy in the database's place.
    """
    settings = read_settings(os.environ)
    target = Path.cwd() / file
    try:
        made = _backed_up(settings, target)
    except BackupFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json({"file": str(made.path), "sizeBytes": made.size_bytes})
    else:
        click.echo(f"{made.path}: {made.size_bytes:,} bytes, checked")


def _backed_up(settings: Settings, target: Path) -> BackedUp:
    with Console(stderr=True).status("copying") as shown:

        def show(progress: Progress) -> None:
            share = f" {progress.done / progress.total:.0%}" if progress.done else ""
            shown.update(f"{progress.doing}{share}")

        try:
            return ask_service(settings, BackUp(target), show)
        except NoService:
            with closing(open_file(settings)) as database:
                return back_up_at_rest(database, settings.run_store_sqlite_path, target)


@click.command()
@click.option(
    "--before", required=True, type=past, help="An instant, or a span such as 90d: so long ago."
)
@click.option("--dry-run", "dry", is_flag=True, help="Only tell how many runs there are.")
@as_json_option(help="Print a JSON object.")
def prune(*, before: datetime, dry: bool, as_json: bool) -> None:
    """Forget runs that were created and ended before an instant, and shrink the file.

    What has not ended stays, whatever its age. Ticks stay for RUN_RETENTION_DAYS, so that
    `service verify` goes on to agree, and delivery ids for DEDUPE_WINDOW_HOURS.
    """
    settings = read_settings(os.environ)
    runs = _pruned(settings, before, dry=dry)
    if as_json:
        print_json({"runs": runs, "before": rfc3339(before), "dryRun": dry})
    else:
        were = "would be" if dry else "was" if runs == 1 else "were"
        ended = f"{counted(runs, 'run')} that ended before {rfc3339(before)}"
        click.echo(f"{ended} {were} forgotten")


def _pruned(settings: Settings, before: datetime, *, dry: bool) -> int:
    now = datetime.now(UTC)
    runs, after = 0, 0
    with Console(stderr=True).status("looking") as shown:
        while True:
            started_at = time.monotonic()
            batch = Prune(
                after=after,
                finished_before=before,
                ticks_before=now - timedelta(days=settings.run_retention_days),
                seen_before=now - timedelta(hours=settings.dedupe_window_hours),
                limit=BATCH,
                dry=dry,
            )
            pruned = ask_service(settings, batch)
            runs += pruned.runs
            if pruned.nothing_left:
                return runs
            after = after if pruned.last is None else pruned.last
            shown.update(counted(runs, "run"))
            time.sleep(0 if dry else PAUSE_FACTOR * (time.monotonic() - started_at))
