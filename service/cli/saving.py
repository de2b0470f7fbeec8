"""`service backup` and `service prune`: to keep what must not be lost, and forget what may be."""

import os
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console

from service.cli.console import as_json_option, print_json
from service.client import NoService, ask_service, open_file
from service.core.errors import BackupFailed
from service.messages import BackedUp, BackUp
from service.protocol import Progress
from service.settings import Settings, read_settings
from service.storage.backup import back_up_at_rest

__all__ = ["backup"]


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
