"""What all commands share: the directory they are about, and errors in one line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jqueue.console.terminal import flush, one_line, printable
from jqueue.console.usage import say_refusal
from jqueue.errors import JQueueError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class CannotRead(click.ClickException):
    """A refusal of a command whose exit code 1 says that it found something."""

    exit_code = 2


@contextlib.contextmanager
def error_boundary(
    refusal: type[click.ClickException] = click.ClickException,
) -> Iterator[None]:
    """Turn what a user or the machine did wrong into one line on stderr and an exit code."""
    try:
        try:
            yield
        finally:
            # A command's exit code is an exception, too; what it printed goes out in any case.
            flush()
    except JQueueError as error:
        raise refusal(printable(one_line(str(error)))) from error
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise refusal(printable(one_line(f"{where}{error.strerror or error}"))) from error


class Command(click.Command):
    """A command that fails in one line."""

    refusal: type[click.ClickException] = click.ClickException

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with error_boundary(self.refusal):
            return super().invoke(ctx)


class FindingCommand(Command):
    """A command that exits with 0 for nothing found, 1 for something, 2 if it can't read."""

    refusal = CannotRead


class Group(click.Group):
    """The command group."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of their registration, which is one of use."""
        del ctx
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program; wrong arguments are one line, too."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            code = say_refusal(error, prog_name or "jqueue-archive")
        except click.Abort:
            code = 1
        sys.exit(code or 0)


Function = Callable[..., Any]


def command(
    name: str, *, cls: type[Command] = Command, **options: Any
) -> Callable[[Function], Command]:
    """Make a function a command."""
    return click.command(name, cls=cls, **options)


class _Directory(click.Path):
    """A directory, which a shell completes as one."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - seldom needed

        del ctx, param
        return [CompletionItem(incomplete, type="dir")]


def directory_argument(name: str = "directory") -> Callable[[Function], Function]:
    """Let a command take the directory of a queue, live or not, or of a copy."""
    return click.argument(name, type=_Directory(path_type=Path))


def json_option(text: str) -> Callable[[Function], Function]:
    """Let a command show what it found as JSON."""
    return click.option("--json", "as_json", is_flag=True, help=text)
