"""`info`: jobs, whole."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.commands.listing import say_missing
from archive_tools.jobids import JOB_ID
from archive_tools.moments import At, at_option, open_at
from jqueue.console.details import put_job
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json
from jqueue.job.row import row_of


@command("info")
@directory_argument()
@show_secrets_option
@click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="ID...")
@json_option("The documents, as in their files, one a line.")
@at_option
@click.pass_context
def info(
    context: click.Context, directory: Path, ids: tuple[int, ...], *, as_json: bool, at: At | None
) -> None:
    """Show everything about jobs of DIRECTORY, live or archived; 1 if one isn't there.

    \b
    Example:
      jqueue-archive info /var/lib/jqueue 12
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    missing = []
    with open_at(directory, at) as queue:
        for job_id in dict.fromkeys(ids):
            job = queue.job(job_id)
            if job is None:
                missing.append(job_id)
            elif as_json:
                put_json({**job.to_dict(), **row_of(job)})
            else:
                put_job(job, whole_log="--json")
    say_missing(missing, directory)
    context.exit(1 if missing else 0)
