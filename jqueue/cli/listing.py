"""`list`: which jobs there are."""

from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from jqueue.cli.command import Settings, command, pass_settings
from jqueue.cli.hints import missing_job
from jqueue.cli.jobids import JOB_ID
from jqueue.cli.selecting import choose
from jqueue.console.choosing import choice_options, view_options
from jqueue.console.jobs import put_jobs
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json_array
from jqueue.console.terminal import say
from jqueue.job.query.choice import Choice
from jqueue.job.query.rows import fields_row, in_order
from jqueue.job.row import row_of

if TYPE_CHECKING:
    from jqueue.job.query import Field


@command("list")
@choice_options
@click.option("--archived", is_flag=True, help="Archived jobs too; marked by a star.")
@view_options
@show_secrets_option
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@pass_settings
@click.pass_context
def list_jobs(  # noqa: PLR0913  # as many as a list has independent facts
    context: click.Context,
    settings: Settings,
    /,
    *,
    ids: tuple[int, ...],
    statuses: tuple[str, ...],
    since: float | None,
    expr: Any,
    archived: bool,
    fields: "list[Field] | None",
    sort: "tuple[Field, bool] | None",
) -> None:
    """List jobs, those named (live or archived) or all live ones; 1 if a named one isn't there.

    \b
    Example:
      jqueue list --status error --since 2h -o +errors
      jqueue list --filter '"COPY" in kinds or priority < 0' --sort -end_ts
      jqueue list --json | jq '.[] | select(.priority < 0) | .id'
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    missing = set(ids)
    choice = Choice(statuses, since, expr)
    with settings.open() as queue:
        found = choose(queue, ids, choice, archived=archived, seen=missing.discard)
        if sort is not None:
            field, descending = sort
            keyed = ((field.get(job.document, job.archived), job) for job in found)
            found = iter(in_order(keyed, descending=descending))
        if settings.as_json:
            put_json_array(map(row_of if fields is None else fields_row(fields), found))
        else:
            first = next(found, None)
            if first is None and not ids and not archived:
                # What is looked for may have been archived meanwhile.
                matches = " matches" if choice.given else ""
                say(f"No live job{matches}; add --archived to see archived ones, too.")
            put_jobs(found if first is None else chain([first], found), fields)
    for job in sorted(missing):
        say(f"no job {job}{missing_job(job, settings)}")
    context.exit(1 if missing else 0)
