"""What all commands share: `--queue` and `--json` before or after the command, errors in a line."""

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jqueue.cli.hints import hint_for
from jqueue.console.terminal import flush, one_line
from jqueue.console.usage import say_refusal
from jqueue.errors import JQueueError

if TYPE_CHECKING:
    from jqueue.cli.target import Client

EXIT_FAILED = 1


@dataclass
class Settings:
    """What was said for all commands."""

    path: str | None = None
    as_json: bool = False

    @property
    def queue_path(self) -> str:
        """The queue's directory."""
        from jqueue.cli.target import default_path  # noqa: PLC0415 - help needs no queue

        return self.path or default_path()

    def open(self) -> "Client":
        """Return the queue that is meant."""
        from jqueue.cli.target import open_queue  # noqa: PLC0415 - as above

        return open_queue(self.queue_path)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


@contextlib.contextmanager
def error_boundary(settings: Settings) -> Iterator[None]:
    """Turn what a user or the machine did wrong into one line on stderr and exit code 1."""
    try:
        try:
            yield
        finally:
            # A command's exit code is an exception, too; what it printed goes out in any case.
            flush()
    except JQueueError as error:
        text = one_line(str(error))
        raise click.ClickException(f"{text}{hint_for(error, settings)}") from error
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise click.exceptions.Exit(EXIT_FAILED) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(one_line(f"{where}{error.strerror or error}")) from error


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
            type=click.Path(),
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
    """The command group: each command is imported when it is asked for, errors are one line."""

    command_class = Command

    def __init__(self, *args: Any, lazy: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        """`lazy`: where each command is defined, as "module:function", in the order of use."""
        super().__init__(*args, **kwargs)
        self._lazy = lazy or {}
        self.params.extend(shared_options())

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands."""
        del context
        return list(self._lazy)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        del context
        place = self._lazy.get(name)
        if place is None:
            return None
        module, _, function = place.partition(":")
        found: click.Command = getattr(importlib.import_module(module), function)
        return found

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was named, or say which is near."""
        name = args[0]
        if name in self._lazy or name.startswith("-") or context.resilient_parsing:
            return super().resolve_command(context, args)
        import difflib  # noqa: PLC0415 - for mistakes alone

        near = difflib.get_close_matches(name, self._lazy, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"No such command {one_line(name)!r:.80}{hint}", context)

    def invoke(self, context: click.Context) -> Any:
        """Run the command that was named."""
        with error_boundary(context.ensure_object(Settings)):
            return super().invoke(context)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program: no traceback ever leaves it for a user's mistake."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            code = say_refusal(error, "jqueue")
        except click.Abort as error:
            if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
                die_of(signal.SIGINT)
            code = EXIT_FAILED
        except Ended as ended:
            die_of(ended.signum)
        sys.exit(code or 0)


class Ended(BaseException):
    """A signal ends the program, which sets something right on the way."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def raise_ended(signum: int, _frame: object) -> NoReturn:
    """Handle a signal: by raising `Ended` in the main thread."""
    raise Ended(signum)


@contextlib.contextmanager
def ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Raise `Ended` when one of these signals comes."""
    before = {signum: signal.signal(signum, raise_ended) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def die_of(signum: int) -> NoReturn:
    """End as this signal ends a program: so a shell's loop around it ends too."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    sys.exit(128 + signum)


Function = Callable[..., Any]


def command(name: str, **options: Any) -> Callable[[Function], Command]:
    """Make a function a command."""
    return click.command(name, cls=Command, **options)
