"""What a command was refused for: one line on stderr, and an exit code."""

import click

from jqueue.console.terminal import one_line, say

EXIT_USAGE = 2


def say_refusal(error: click.ClickException, program: str) -> int:
    """Say why it was refused; return the exit code.

    With wrong arguments the line says where help is; without any the help itself is said.
    """
    if not isinstance(error, click.UsageError):
        say(f"Error: {error.format_message()}")
        return error.exit_code
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()  # what newer clicks raise for a bare program: its message is the help
        return EXIT_USAGE
    path = error.ctx.command_path if error.ctx is not None else program
    say(f"Error: {one_line(error.format_message())} (see {path} --help)")
    return EXIT_USAGE
