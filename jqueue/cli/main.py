"""`jqueue`, the command."""

import click

from jqueue._version import __version__
from jqueue.cli.command import Group

COMMANDS = {
    "submit": "submitting:submit",
    "list": "listing:list_jobs",
    "info": "reading:info",
    "tree": "trees:tree",
    "log": "logs:log",
    "watch": "watching:watch",
    "top": "top:top",
    "explain": "reading:explain",
    "wait": "waiting:wait",
    "cancel": "changing:cancel",
    "change-priority": "changing:change_priority",
    "retry": "retrying:retry",
    "archive": "changing:archive",
    "autoarchive": "changing:autoarchive",
    "resolve": "changing:resolve",
    "drain": "operating:drain",
    "undrain": "operating:undrain",
    "pause": "operating:pause",
    "resume": "operating:resume",
    "status": "status:status",
    "metrics": "operating:metrics",
    "daemon": "running:daemon",
    "run": "running:run",
    "recover": "recovering:recover",
    "completion": "completing:completion",
    "demo": "demo:demo",
}
"""Where each command is, in the order of use: a module of this package and its function."""


@click.group(
    cls=Group,
    lazy={name: f"jqueue.cli.{place}" for name, place in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="jqueue")
def cli() -> None:
    """A durable job queue that lives in a directory.

    \b
    Example:
      jqueue submit -- rsync -a /home backup:/home
      jqueue list
    """  # noqa: D301  # \b is click's mark for text that is not wrapped


def main() -> None:
    """Run the command that the arguments name: 0 fine, 1 failed or found something, 2 usage."""
    cli(prog_name="jqueue")
