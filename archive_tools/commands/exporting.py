"""`export` and `import`: a queue as one file, for Ganeti or SQL, and a queue from a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from archive_tools.command import command, directory_argument
from archive_tools.contents import read_contents
from archive_tools.export_file import Manifest, read_export, write_export
from archive_tools.export_ganeti import export_ganeti
from archive_tools.export_sqlite import export_sqlite
from archive_tools.importing import import_queue
from jqueue.console.terminal import say
from jqueue.errors import QueueFailed
from jqueue.store.disk import temp_path
from jqueue.store.offline import OfflineQueue
from jqueue.store.realdisk import PRIVATE_FILE, RealDisk


@command("export")
@directory_argument()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jqueue", "ganeti", "sqlite"]),
    default="jqueue",
    show_default=True,
    help="One file to import again; a directory for Ganeti; a database for SQL.",
)
@click.pass_context
def export(context: click.Context, directory: Path, target: Path, *, kind: str) -> None:
    """Export the queue of DIRECTORY, live and archived jobs, to the new file TARGET.

    TARGET - is the standard output.  Files that can't be read as jobs are named, and carried along
    in the jqueue format; then the exit code is 1.

    \b
    Example:
      jqueue-archive export /var/lib/jqueue queue.ndjson.gz
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with OfflineQueue(directory) as queue:
        contents = read_contents(queue)
        if kind == "ganeti":
            manifest = export_ganeti(contents, target)
        elif kind == "sqlite":
            manifest = export_sqlite(contents, target)
        else:
            with _new_file(target) as file:
                manifest = write_export(contents, file)
    _tell("exported", manifest)
    context.exit(1 if manifest.files else 0)


@command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
def import_(source: Path, new: Path) -> None:
    """Make the queue directory NEW from SOURCE: an export, or a queue directory, Ganeti's too.

    Job IDs, archive and serial are kept.  What can't be verified is refused, and then nothing is
    made.  When the command is back, the queue is durable.

    \b
    Example:
      jqueue-archive import queue.ndjson.gz /var/lib/jqueue-copy
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if source.is_dir():
        with OfflineQueue(source) as queue:
            manifest = import_queue(read_contents(queue), new)
    else:
        with source.open("rb") as file:
            manifest = import_queue(read_export(file, str(source)), new)
    _tell("imported", manifest)
    if manifest.unfinished:
        say(
            f"{manifest.unfinished} jobs are unfinished: whoever runs {new} runs them;"
            f" if the original lives on, first: jqueue pause --queue {new}"
        )


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """Give a file that gets its name, durably, when all is written."""
    if str(target) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = target.absolute()
    if os.path.lexists(target):
        raise QueueFailed(f"{target}: exists already; nothing was exported")
    with RealDisk(target.parent, file_mode=PRIVATE_FILE) as disk:
        aside = temp_path(target.name)
        disk.create(aside, b"")
        try:
            with (target.parent / aside).open("wb") as file:
                yield file
            disk.sync_file(aside)
            disk.rename_new(aside, target.name)
        except BaseException:
            disk.unlink(aside)
            raise
        disk.sync_dir()


def _tell(what: str, manifest: Manifest) -> None:
    jobs = manifest.live + manifest.archived
    say(f"{what} {jobs} jobs, {manifest.archived} of them archived")
    if manifest.files:
        say(f"{manifest.files} files could not be read as jobs; see: jqueue-archive verify")
