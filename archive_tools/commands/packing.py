"""`pack` and `unpack`: an archive directory as one compressed file, and back."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import command, directory_argument
from archive_tools.writer import writer
from jqueue.console.terminal import put, say
from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.store.jobfiles import archive_numbers
from jqueue.store.offline import OfflineQueue
from jqueue.store.packed import pack_path


@command("pack")
@directory_argument()
@click.argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER…]")
@click.option("--all", "everything", is_flag=True, help="Also directories that still get jobs.")
@click.pass_context
def pack(
    context: click.Context, directory: Path, numbers: tuple[int, ...], *, everything: bool
) -> None:
    """Pack full archive directories of DIRECTORY (or those named) into one file each.

    Packed jobs are read as before; `unpack` restores their files byte for byte.  A running daemon
    is asked to do it.  Exit code 1 if files were left because they are damaged.

    \b
    Example:
      jqueue-archive pack /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    chosen = list(numbers) or _to_pack(directory, everything=everything)
    failed = False
    with writer(directory) as queue:
        for number in chosen:
            count, left = queue.pack(number)
            put(f"archive/{number}: {count} jobs packed")
            for text in left:
                say(f"left as it is: {text}")
            failed = failed or bool(left)
    if not chosen:
        say("no archive directory is full; --all packs the others too")
    context.exit(1 if failed else 0)


@command("unpack")
@directory_argument()
@click.argument("numbers", nargs=-1, type=click.IntRange(min=0), metavar="[NUMBER…]")
@click.pass_context
def unpack(context: click.Context, directory: Path, numbers: tuple[int, ...]) -> None:
    """Restore the files of all packed archive directories of DIRECTORY, or of those named.

    \b
    Example:
      jqueue-archive unpack /var/lib/jqueue 0
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with OfflineQueue(directory) as found:
        packed = [n for n in archive_numbers(found.disk) if found.disk.exists(pack_path(n))]
    failed = False
    with writer(directory) as queue:
        for number in numbers or packed:
            count, left = queue.unpack(number)
            put(f"archive/{number}: {count} jobs unpacked")
            for text in left:
                say(f"left as it is, and the pack too: {text}")
            failed = failed or bool(left)
    if not (numbers or packed):
        say("no archive directory is packed")
    context.exit(1 if failed else 0)


def _to_pack(directory: Path, *, everything: bool) -> list[int]:
    """Return the archive directories that no job will come to, or with `everything` all."""
    with OfflineQueue(directory) as queue:
        numbers = archive_numbers(queue.disk)
        if everything:
            return numbers
        live = {job // ARCHIVE_DIVISOR for job in queue.job_ids()}
        serial = queue.find("serial") or 0
    return [n for n in numbers if n not in live and (n + 1) * ARCHIVE_DIVISOR <= serial + 1]
