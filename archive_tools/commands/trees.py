"""`tree`: jobs and what they submitted, live or archived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.commands.listing import say_missing
from archive_tools.jobids import JOB_ID
from archive_tools.moments import At, at_option, open_at
from archive_tools.reading import read_jobs, seek, seek_chosen
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json_array
from jqueue.console.trees import Level, nested, put_family, walk
from jqueue.job.query import Choice
from jqueue.job.snapshot import Job
from jqueue.store.offline import OfflineQueue


@command("tree")
@directory_argument()
@show_secrets_option
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@click.option("--archived", is_flag=True, help="Families whose first job is archived, too.")
@json_option("An array of jobs, each with its `children`.")
@at_option
@click.pass_context
def tree(
    context: click.Context,
    directory: Path,
    ids: tuple[int, ...],
    *,
    archived: bool,
    as_json: bool,
    at: At | None,
) -> None:
    """Show jobs of DIRECTORY and all that they submitted, live or archived.

    Without an ID all families of more than one job.  1 if a named job isn't there.

    \b
    Example:
      jqueue-archive tree /var/lib/jqueue 17
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    missing: list[int] = []
    with open_at(directory, at) as queue:
        found = _families(queue, ids, missing, archived=archived)
        if as_json:
            put_json_array(map(nested, found))
        else:
            for family in found:
                put_family(family)
    say_missing(missing, directory)
    context.exit(1 if missing else 0)


def _families(
    queue: OfflineQueue, ids: tuple[int, ...], missing: list[int], *, archived: bool
) -> Iterator[list[Level]]:
    def find(wanted: Iterable[int]) -> Iterator[Job]:
        for read in read_jobs(queue.moment, seek(queue, wanted)):
            if read.document is not None:
                yield Job(read.document, archived=read.archived)

    for read in read_jobs(queue.moment, seek_chosen(queue, ids, Choice(), archived=archived)):
        if read.document is None:
            missing.append(read.job)
            continue
        job = Job(read.document, archived=read.archived)
        if ids:
            yield list(walk(job, find))
        elif job.submitter is None and len(family := list(walk(job, find))) > 1:
            yield family
