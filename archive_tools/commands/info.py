"""`info`: one job, whole."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import command, directory_argument
from jqueue.console.show import put_json
from jqueue.console.values import JOB_ID
from jqueue.errors import JobNotFound
from jqueue.job.row import row_of
from jqueue.store.offline import OfflineQueue


@command("info")
@directory_argument()
@click.argument("id", type=JOB_ID, metavar="ID")
def info(directory: Path, *, id: int) -> None:
    """Show the whole document of one job, live or archived, as JSON.

    \b
    Example:
      jqueue-archive info /var/lib/jqueue 12
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with OfflineQueue(directory) as queue:
        job = queue.job(id)
    if job is None:
        raise JobNotFound(f"no job {id} in {directory}, live or archived", job_id=id)
    put_json({**job.to_dict(), **row_of(job)})
