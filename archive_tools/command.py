"""What all commands share: the directory they are about, and errors in one line."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from archive_tools.show import printable
from jqueue.errors import InvalidJob, JQueueError
from jqueue.job.ids import parse_job_id


class JobIdType(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A job's ID: plain decimal digits, or the name of the job's file."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return parse_job_id(value.removeprefix("job-") if isinstance(value, str) else value)
        except InvalidJob as error:
            self.fail(str(error), param, ctx)


JOB_ID: Final = JobIdType()


class CannotRead(click.ClickException):
    """A refusal of a command whose exit code 1 says that it found something."""

    exit_code = 2


@contextlib.contextmanager
def error_boundary(
    refusal: type[click.ClickException] = click.ClickException,
) -> Iterator[None]:
    """Turn what a user or the machine did wrong into one line on stderr and an exit code."""
    try:
        yield
    except JQueueError as error:
        raise refusal(one_line(str(error))) from error
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise refusal(one_line(f"{where}{error.strerror or error}")) from error


def one_line(text: str) -> str:
    """Return the text without line ends, and without what could steer a terminal."""
    return printable(" ".join(text.split()) or "failed")


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


Function = Callable[..., Any]


def command(
    name: str, *, cls: type[Command] = Command, **options: Any
) -> Callable[[Function], Command]:
    """Make a function a command."""
    return click.command(name, cls=cls, **options)


def directory_argument(name: str = "directory") -> Callable[[Function], Function]:
    """Let a command take the directory of a queue, live or not, or of a copy."""
    return click.argument(name, type=click.Path(path_type=Path))


def json_option(text: str) -> Callable[[Function], Function]:
    """Let a command show what it found as JSON."""
    return click.option("--json", "as_json", is_flag=True, help=text)
