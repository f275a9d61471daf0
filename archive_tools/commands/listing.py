"""`list`: the jobs of a directory, live or archived."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import command, directory_argument, json_option
from jqueue.console.show import put_json_array
from jqueue.console.terminal import put, say
from jqueue.console.values import JOB_ID
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job
from jqueue.store.offline import OfflineQueue


@command("list")
@directory_argument()
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID…]")
@click.option("--archived", is_flag=True, help="Archived jobs too.")
@json_option("An array of objects, one a line.")
@click.pass_context
def list_jobs(
    context: click.Context, directory: Path, ids: tuple[int, ...], *, archived: bool, as_json: bool
) -> None:
    """List the jobs of DIRECTORY, or those with the given IDs; 1 if a named one isn't there.

    \b
    Example:
      jqueue-archive list --archived /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with OfflineQueue(directory) as queue:
        wanted = list(ids) or queue.job_ids(archived=archived)
        found = [(number, queue.job(number)) for number in wanted]
    jobs = [job for _, job in found if job is not None]
    if as_json:
        put_json_array(map(row_of, jobs))
    else:
        for job in jobs:
            put(_line(job))
    missing = [number for number, job in found if job is None]
    for number in missing:
        say(f"job {number}: not there, or its file can't be read")
    context.exit(1 if missing else 0)


def _line(job: Job) -> str:
    mark = "  archived" if job.archived else ""
    return f"{job.id:>8}  {job.status:<9} {job.priority:>4}  {', '.join(job.summary)}{mark}"
