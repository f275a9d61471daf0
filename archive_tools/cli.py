"""`jqueue-archive`, the command: each of its commands is a module of `archive_tools.commands`."""

from __future__ import annotations

import gc
import logging

import click

from archive_tools.command import Group
from archive_tools.commands.completing import completion
from archive_tools.commands.diff import diff
from archive_tools.commands.exporting import export, import_
from archive_tools.commands.history import show_history
from archive_tools.commands.info import info
from archive_tools.commands.journal import journal
from archive_tools.commands.listing import list_jobs
from archive_tools.commands.packing import pack, unpack
from archive_tools.commands.pruning import prune
from archive_tools.commands.repairing import repair
from archive_tools.commands.report import report
from archive_tools.commands.stats import stats
from archive_tools.commands.timeline import timeline
from archive_tools.commands.trees import tree
from archive_tools.commands.verifying import verify
from archive_tools.parallel import COLLECTED_EVERY
from jqueue._version import __version__

COMMANDS = (
    list_jobs,
    info,
    tree,
    show_history,
    journal,
    diff,
    stats,
    verify,
    repair,
    timeline,
    report,
    export,
    import_,
    prune,
    pack,
    unpack,
    completion,
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="jqueue-archive")
def cli() -> None:
    """Look at a queue directory, dead or alive, a copy or a backup, without a daemon or the lock.

    Reading changes nothing, not even timestamps.

    \b
    Example:
      jqueue-archive verify /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command: 0 fine, 1 failed or found something, 2 usage (or nothing to verify)."""
    gc.set_threshold(COLLECTED_EVERY)
    logging.basicConfig(level=logging.ERROR, format="jqueue-archive: %(message)s")
    cli(prog_name="jqueue-archive")
