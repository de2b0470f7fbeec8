"""`service completion`: what makes a shell complete commands, options, jobs and runs."""

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a SHELL complete commands, options, jobs and runs.

    Such as: service completion bash > /etc/bash_completion.d/service
    """
    script = get_completion_class(shell)
    if script is None:  # pragma: no cover - click knows these three
        raise click.ClickException(f"click knows no completion for {shell}")
    click.echo(script(ctx.find_root().command, {}, "service", "_SERVICE_COMPLETE").source())
