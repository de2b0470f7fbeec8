"""``make bench``: runs the measures, and prints a table or JSON."""

import json

import click
from rich.table import Table

from service.cli.console import print_table
from tests.bench.measures import MEASURES
from tests.bench.sides import WHAT_IS_ON


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)))
@click.option("--rounds", default=3, show_default=True, help="Rounds; the median counts.")
@click.option("--seconds", default=5.0, show_default=True, help="Length of one load.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def main(names: tuple[str, ...], *, rounds: int, seconds: float, as_json: bool) -> None:
    """Measure all, or the measures that are named."""
    rows = []
    for name in names or MEASURES:
        click.echo(f"measuring {name} …", err=True)
        rows += list(MEASURES[name](rounds, seconds))
    if as_json:
        click.echo(json.dumps([[row.measure, row.figure, row.unit, row.goal] for row in rows]))
        return
    table = Table("measure", "figure", "unit", "goal")
    for row in rows:
        table.add_row(row.measure, f"{row.figure:,.3g}", row.unit, row.goal)
    print_table(table)
    click.echo(WHAT_IS_ON)


if __name__ == "__main__":
    main()
