"""Commands about the queue as a whole: drain, undrain, pause, resume."""

from typing import Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.show import put_json
from jqueue.console.terminal import put_bytes, say


def _change(settings: Settings, flag: str, verb: str, said: str, *arguments: Any) -> None:
    """Set or lift a flag of the queue, and say what holds now."""
    with settings.open() as queue:
        getattr(queue, verb)(*arguments)
        state = getattr(queue, f"{flag}_state")()
    if settings.as_json:
        put_json({flag: state})
    else:
        say(said)


@command("drain")
@click.option("--reason", help="What refused submissions are told.")
@pass_settings
def drain(settings: Settings, *, reason: str | None) -> None:
    """Accept no new jobs; queued and running ones go on.

    \b
    Example:
      jqueue drain --reason "moving house on Friday"
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    _change(settings, "drain", "drain", "Drained: no new jobs are accepted.", reason)


@command("undrain")
@pass_settings
def undrain(settings: Settings) -> None:
    """Accept new jobs again.

    \b
    Example:
      jqueue undrain
    """  # noqa: D301  # as above
    _change(settings, "drain", "undrain", "New jobs are accepted.")


@command("pause")
@click.option("--reason", help="What `jqueue explain` says.")
@pass_settings
def pause(settings: Settings, *, reason: str | None) -> None:
    """Start no opcode; running ones go on.

    \b
    Example:
      jqueue pause --reason "disk check"
    """  # noqa: D301  # as above
    _change(settings, "pause", "pause", "Paused: nothing is started.", reason)


@command("resume")
@pass_settings
def resume(settings: Settings) -> None:
    """Start opcodes again.

    \b
    Example:
      jqueue resume
    """  # noqa: D301  # as above
    _change(settings, "pause", "resume", "Opcodes are started.")


@command("metrics")
@pass_settings
def metrics(settings: Settings) -> None:
    """Print the queue's figures as Prometheus text; without a daemon, what the files show.

    \b
    Example:
      jqueue metrics > /var/lib/node_exporter/jqueue.prom
    """  # noqa: D301  # as above
    with settings.open() as queue:
        text = queue.metrics()
    if settings.as_json:
        put_json({"metrics": text})
    else:
        put_bytes(text.encode())
