"""`daemon` and `run`: the commands that carry out jobs."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from jqueue.cli.command import Function, Settings, command, pass_settings
from jqueue.console.terminal import one_line, printable


def _running_options(least_workers: int) -> Callable[[Function], Function]:
    """Add what both commands take."""

    def add(function: Function) -> Function:
        function = click.option(
            "--workers",
            type=click.IntRange(min=least_workers),
            help="How many opcodes run at once; else as config.toml says, else 2.",
        )(function)
        return click.option(
            "--load",
            "sources",
            multiple=True,
            metavar="MODULE|FILE.py",
            help="Where logical units are declared (may be repeated).",
        )(function)

    return add


@command("daemon")
@_running_options(0)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    metavar="PORT",
    help="Serve Prometheus metrics on this port of 127.0.0.1.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="How the log on stderr is written."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="From what on it is written; debug: each start and end.",
)
@pass_settings
def daemon(
    settings: Settings,
    *,
    sources: tuple[str, ...],
    workers: int | None,
    metrics_port: int | None,
    log_format: str | None,
    log_level: str | None,
) -> None:
    """Own the queue and run its jobs, in the foreground, until SIGTERM or SIGINT.

    SIGTERM or SIGHUP: start nothing, wait for what runs; again: at once. SIGINT (Ctrl-C): end what
    runs; it is queued again. With --workers 0 jobs are accepted and none is run.

    \b
    Example:
      jqueue daemon --load my_units.py --workers 4
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    said = {
        "workers": workers,
        "metrics_port": metrics_port,
        "log_format": log_format,
        "log_level": log_level,
    }
    _serve(settings, sources, said, until_idle=False)


@command("run")
@_running_options(1)
@pass_settings
def run(settings: Settings, *, sources: tuple[str, ...], workers: int | None) -> None:
    """Run the queue's jobs until nothing runs or can start.

    \b
    Example:
      jqueue run --load my_units.py
    """  # noqa: D301  # as above
    _serve(settings, sources, {"workers": workers, "log_level": "warning"}, until_idle=True)


def _serve(
    settings: Settings, sources: Iterable[str], said: Mapping[str, Any], *, until_idle: bool
) -> None:
    """Serve by config.toml, but for what is `said`: the command line has the first word."""
    # Imported here: no other command needs what runs jobs.
    from jqueue.daemon.starting import ended_when_told  # noqa: PLC0415

    with ended_when_told():
        from jqueue.daemon import logs  # noqa: PLC0415
        from jqueue.daemon.config import read  # noqa: PLC0415
        from jqueue.daemon.main import serve  # noqa: PLC0415

        given = {name: value for name, value in said.items() if value is not None}
        config = dataclasses.replace(read(settings.queue_path), **given)
        logs.configure(config.log_format, config.log_level)
        for source in sources:
            load_units(source)
        serve(settings.queue_path, config=config, until_idle=until_idle)


def load_units(source: str) -> None:
    """Load units; what goes wrong in the user's own code becomes one line."""
    from jqueue.execution.units import load  # noqa: PLC0415  # as in _serve

    try:
        load(source)
    except Exception as error:
        # Whatever that code raises, it is the user's to mend, and no bug of ours.
        text = printable(one_line(f"{type(error).__name__}: {error}"))
        raise click.ClickException(f"{source} can't be loaded: {text}") from error
