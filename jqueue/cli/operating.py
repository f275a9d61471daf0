"""Commands about the queue as a whole: drain, undrain, pause, resume."""

from typing import Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.console.show import put_json
from jqueue.console.terminal import put_bytes, say


def tell(settings: Settings, name: str, state: dict[str, Any] | None, text: str) -> None:
    """Say what holds now."""
    if settings.as_json:
        put_json({name: state})
    else:
        say(text)


@command("drain")
@click.option("--reason", help="What refused submissions are told.")
@pass_settings
def drain(settings: Settings, *, reason: str | None) -> None:
    """Accept no new jobs; queued and running ones go on.

    \b
    Example:
      jqueue drain --reason "moving house on Friday"
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with settings.open() as queue:
        queue.drain(reason)
        state = queue.drain_state()
    tell(settings, "drain", state, "Drained: no new jobs are accepted.")


@command("undrain")
@pass_settings
def undrain(settings: Settings) -> None:
    """Accept new jobs again.

    \b
    Example:
      jqueue undrain
    """  # noqa: D301  # as above
    with settings.open() as queue:
        queue.undrain()
        state = queue.drain_state()
    tell(settings, "drain", state, "New jobs are accepted.")


@command("pause")
@click.option("--reason", help="What `jqueue explain` says.")
@pass_settings
def pause(settings: Settings, *, reason: str | None) -> None:
    """Start no opcode; running ones go on.

    \b
    Example:
      jqueue pause --reason "disk check"
    """  # noqa: D301  # as above
    with settings.open() as queue:
        queue.pause(reason)
        state = queue.pause_state()
    tell(settings, "pause", state, "Paused: nothing is started.")


@command("resume")
@pass_settings
def resume(settings: Settings) -> None:
    """Start opcodes again.

    \b
    Example:
      jqueue resume
    """  # noqa: D301  # as above
    with settings.open() as queue:
        queue.resume()
        state = queue.pause_state()
    tell(settings, "pause", state, "Opcodes are started.")


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
