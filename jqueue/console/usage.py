"""Wrong arguments: one line on stderr, and exit code 2."""

import click

from jqueue.console.terminal import one_line, say

EXIT_USAGE = 2


def say_usage(error: click.UsageError, program: str) -> int:
    """Say what is wrong with the arguments and where help is; return the exit code.

    Without any argument the help itself is said.
    """
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # what newer clicks raise for a bare program: its message is the help
        return EXIT_USAGE
    path = error.ctx.command_path if error.ctx is not None else program
    say(f"Error: {one_line(error.format_message())} (see {path} --help)")
    return EXIT_USAGE
