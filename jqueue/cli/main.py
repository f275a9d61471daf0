"""`jqueue`, the command."""

import click

from jqueue._version import __version__
from jqueue.cli.changing import archive, autoarchive, cancel, change_priority, resolve
from jqueue.cli.command import Group
from jqueue.cli.demo import demo
from jqueue.cli.logs import log
from jqueue.cli.operating import drain, pause, resume, undrain
from jqueue.cli.reading import explain, info, list_jobs, status
from jqueue.cli.recovering import recover
from jqueue.cli.running import daemon, run
from jqueue.cli.submitting import retry, submit
from jqueue.cli.trees import tree
from jqueue.cli.waiting import wait
from jqueue.cli.watching import watch

COMMANDS = (
    submit,
    list_jobs,
    info,
    tree,
    log,
    watch,
    explain,
    wait,
    cancel,
    change_priority,
    retry,
    archive,
    autoarchive,
    resolve,
    drain,
    undrain,
    pause,
    resume,
    status,
    daemon,
    run,
    recover,
    demo,
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jqueue")
def cli() -> None:
    """A durable job queue that lives in a directory.

    \b
    Example:
      jqueue submit -- rsync -a /home backup:/home
      jqueue list
    """  # noqa: D301  # \b is click's mark for text that is not wrapped


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command that the arguments name: 0 fine, 1 failed or found something, 2 usage."""
    cli(prog_name="jqueue")
