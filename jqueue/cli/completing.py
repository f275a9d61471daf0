"""`completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

from jqueue.cli.command import command
from jqueue.console.terminal import put_bytes

PROGRAM = "jqueue"
VARIABLE = "_JQUEUE_COMPLETE"


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what completes `jqueue` in a shell.

    \b
    Example:
      eval "$(jqueue completion bash)"
      jqueue completion zsh > ~/.zfunc/_jqueue
      jqueue completion fish > ~/.config/fish/completions/jqueue.fish
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    made = get_completion_class(shell)
    assert made is not None
    script = made(context.find_root().command, {}, PROGRAM, VARIABLE)
    # Not `source()`: for bash it runs the bash of this machine, which need not be the one meant.
    text = script.source_template % script.source_vars()
    put_bytes(text.encode() + b"\n")
