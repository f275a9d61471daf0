"""`completion`: what a shell needs to complete commands and options."""

import click

from archive_tools.command import command
from jqueue.console.completion import SHELLS, put_completion


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what completes `jqueue-archive` in a shell.

    \b
    Example:
      eval "$(jqueue-archive completion bash)"
      jqueue-archive completion zsh > ~/.zfunc/_jqueue-archive
      jqueue-archive completion fish > ~/.config/fish/completions/jqueue-archive.fish
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    put_completion(context, shell, "jqueue-archive")
