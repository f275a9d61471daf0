"""What a shell needs to complete a program's commands and options."""

import click
from click.shell_completion import get_completion_class

from jqueue.console.terminal import put_bytes

SHELLS = ("bash", "zsh", "fish")


def put_completion(context: click.Context, shell: str, program: str) -> None:
    """Print the script that makes `shell` complete `program`, whose command this is one of."""
    made = get_completion_class(shell)
    assert made is not None
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    script = made(context.find_root().command, {}, program, variable)
    # Not `source()`: for bash it runs the bash of this machine, which need not be the one meant.
    text = script.source_template % script.source_vars()
    put_bytes(text.encode() + b"\n")
