"""What all commands share: `--queue` and `--json` before or after the command, errors in a line."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from jqueue.cli.target import Client, default_path, open_queue
from jqueue.errors import JQueueError


@dataclass
class Settings:
    """What was said for all commands."""

    path: str | None = None
    as_json: bool = False

    @property
    def queue_path(self) -> str:
        """The queue's directory."""
        return self.path or default_path()

    def open(self) -> Client:
        """Return the queue that is meant."""
        return open_queue(self.queue_path)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


@contextlib.contextmanager
def error_boundary() -> Iterator[None]:
    """Turn what a user or the machine did wrong into one line on stderr and exit code 1."""
    try:
        yield
    except JQueueError as error:
        raise click.ClickException(one_line(str(error))) from error
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(one_line(f"{where}{error.strerror or error}")) from error


def one_line(text: str) -> str:
    """The text without line ends."""
    return " ".join(text.split()) or "failed"


def _set_path(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value == "":
        # Of a variable that is not set, most likely: the default would be another queue than meant.
        raise click.BadParameter("the queue's directory has no name", context, option)
    if value is not None:
        context.ensure_object(Settings).path = value


def _set_json(context: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Settings).as_json = True


def shared_options() -> list[click.Parameter]:
    """The options that every command takes."""
    return [
        click.Option(
            ["--queue"],
            metavar="DIR",
            expose_value=False,
            callback=_set_path,
            help="The queue's directory; else $JQUEUE_DIR, else the user's own queue.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_set_json,
            help="Show it as JSON.",
        ),
    ]


class Command(click.Command):
    """A command with the shared options; its docstring's example is shown as it is written."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())


class Group(click.Group):
    """The command group: no traceback ever leaves it for a user's mistake."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was named."""
        with error_boundary():
            return super().invoke(context)

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the commands in the order of their registration, which is one of use."""
        del context
        return list(self.commands)


Function = Callable[..., Any]


def command(name: str, **options: Any) -> Callable[[Function], Command]:
    """Make a function a command."""
    return click.command(name, cls=Command, **options)
