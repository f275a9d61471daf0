"""`list`: the jobs of a directory, live or archived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from archive_tools.command import command, directory_argument
from archive_tools.jobids import JOB_ID
from archive_tools.listing import Form, Part, Rows, csv_heading, rows_of
from archive_tools.moments import At, at_option, open_at
from archive_tools.progress import progress
from archive_tools.reading import seek_chosen
from jqueue.console.choosing import choice_options, view_options
from jqueue.console.jobs import Columns, columns
from jqueue.console.secrets import show_secrets_option
from jqueue.console.terminal import put_bytes, say
from jqueue.job.query import Choice, Field

MOST_NAMED: Final = 20
"""Missing jobs that are named one by one."""


@command("list")
@directory_argument()
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@choice_options
@click.option("--archived", is_flag=True, help="Archived jobs too; marked by a star.")
@view_options
@show_secrets_option
@click.option("--json", "form", flag_value="json", help="An array of objects, one a line.")
@click.option("--ndjson", "form", flag_value="ndjson", help="An object a line.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values, with a heading.")
@at_option
@click.pass_context
def list_jobs(  # noqa: PLR0913  # as many as a list has independent facts
    context: click.Context,
    directory: Path,
    ids: tuple[int, ...],
    *,
    statuses: tuple[str, ...],
    since: float | None,
    expr: Any,
    archived: bool,
    fields: list[Field] | None,
    sort: tuple[Field, bool] | None,
    form: Form | None,
    at: At | None,
) -> None:
    """List jobs of DIRECTORY, those named (live or archived) or all live ones.

    As jqueue list, with the same filters, fields and JSON.  Any number of jobs is listed in little
    memory; --sort holds a value of each, and has the rows in a temporary file.  1 if a job isn't
    there or can't be read.

    \b
    Example:
      jqueue-archive list --archived --status error --since 2h /var/lib/jqueue
      jqueue-archive list --archived --csv -o id,status,end_ts /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    choice = Choice(statuses, since, expr)
    rows = Rows(choice, form or "table", columns(fields))
    missing: list[int] = []
    with open_at(directory, at) as queue:
        jobs = seek_chosen(queue, ids, choice, archived=archived)
        with progress("listing", queue.find("serial"), printing=True) as advance:

            def watched(parts: Iterable[Part]) -> Iterator[Part]:
                for part in parts:
                    missing.extend(part.missing[: MOST_NAMED + 1])
                    advance(part.looked)
                    yield part

            _put(rows.columns, rows.form, watched(rows_of(queue, jobs, rows, sort)))
    say_missing(missing, directory)
    context.exit(1 if missing else 0)


def _put(shown: Columns, form: Form, parts: Iterable[Part]) -> None:
    if form == "table":
        shown.put(cells for part in parts for cells in part.rows or ())
        return
    if form == "csv":
        put_bytes(csv_heading(shown.fields))
    separator = b"["
    for part in parts:
        if not part.chosen or part.rows is None:
            continue
        if form == "json":
            put_bytes(separator)
            separator = b",\n"
        put_bytes(part.rows + (b"\n" if form == "ndjson" else b""))
    if form == "json":
        put_bytes(b"[]\n" if separator == b"[" else b"]\n")


def say_missing(missing: list[int], directory: Path) -> None:
    """Say which jobs are not there."""
    for job in missing[:MOST_NAMED]:
        say(f"no job {job}, or it can't be read; see: jqueue-archive verify {directory}")
    if len(missing) > MOST_NAMED:
        say(f"and more than {MOST_NAMED} others")
