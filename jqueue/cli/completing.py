"""`completion`: what a shell needs to complete commands and options."""

import click

from jqueue.cli.command import command
from jqueue.console.completion import SHELLS, put_completion


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what completes `jqueue` in a shell.

    \b
    Example:
      eval "$(jqueue completion bash)"
      jqueue completion zsh > ~/.zfunc/_jqueue
      jqueue completion fish > ~/.config/fish/completions/jqueue.fish
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    put_completion(context, shell, "jqueue")
