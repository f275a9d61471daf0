"""`timeline`: what ran when, as a picture or as text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.commands.picture_file import PictureFile
from archive_tools.jobids import JOB_ID
from archive_tools.moments import At, at_option, open_at
from archive_tools.pictures import write_private
from archive_tools.progress import progress
from archive_tools.reading import seek_chosen
from archive_tools.timeline_layout import By, Layout, place
from archive_tools.timeline_reading import collect
from jqueue.console.choosing import FilterType
from jqueue.console.show import put_json
from jqueue.console.terminal import has_unicode, say, width
from jqueue.console.values import PAST
from jqueue.job.query.choice import Choice
from jqueue.job.status import JobStatus

PIPED_COLUMNS: Final = 100
PICTURE: Final = PictureFile("svg", "png", "html")


@command("timeline")
@directory_argument()
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID…]")
@click.option("--archived", is_flag=True, help="Archived jobs too.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in JobStatus]),
    multiple=True,
    help="Only jobs in this status (may be repeated).",
)
@click.option(
    "--filter", "expr", type=FilterType(), metavar="EXPR", help="Only jobs of which this holds."
)
@click.option("--since", type=PAST, help="Draw from here: 2h (ago), 2030-01-31T22:00.")
@click.option("--until", type=PAST, help="Draw up to here.")
@click.option(
    "--by",
    type=click.Choice(["job", "worker", "kind"]),
    help="A row a job, a lane a worker, or how many at once by kind; by default what can be read.",
)
@click.option(
    "--output",
    "-o",
    type=PICTURE,
    help="A file.svg, .png or .html; - is SVG on the standard output; without it, text.",
)
@at_option
@json_option("The placed timeline, as an object; times in Unix seconds.")
def timeline(  # noqa: PLR0913  # as many as there are independent facts
    directory: Path,
    ids: tuple[int, ...],
    *,
    archived: bool,
    statuses: tuple[str, ...],
    expr: Any,
    since: float | None,
    until: float | None,
    by: By | None,
    output: Path | None,
    as_json: bool,
    at: At | None,
) -> None:
    """Draw what the jobs of DIRECTORY did when: queued, waiting, running, interrupted, ended.

    A few jobs have a row each.  More are drawn in lanes by worker, or as how many there were at
    once; the picture says so.  Times are in UTC.

    \b
    Example:
      jqueue-archive timeline /var/lib/jqueue --since 2h --output timeline.svg
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if since is not None and until is not None and since >= until:
        raise click.BadParameter("it must be after --since", param_hint="--until")
    columns, layout_columns = width() or PIPED_COLUMNS, {}
    if output is None and not as_json:
        from archive_tools.timeline_text import chart_columns  # noqa: PLC0415 - rich, for text only

        layout_columns = {"columns": chart_columns(columns)}
    with open_at(directory, at) as queue:
        choice = Choice(statuses, None, expr)
        found = seek_chosen(queue, ids, choice, archived=archived)
        with progress("reading", queue.find("serial")) as advance:
            spans = collect(queue, found, choice, advance)
        now = time.time() if queue.owned and at is None else None
    layout = place(spans, since=since, until=until, now=now, by=by, **layout_columns)
    if as_json:
        put_json(layout.to_dict())
    elif output is None:
        _put_text(layout, columns)
    else:
        # Imported here: what draws is in an extra, and large.
        from archive_tools.pictures_timeline import timeline_page, timeline_picture  # noqa: PLC0415

        kind = PICTURE.kind_of(output)
        page = timeline_page(layout) if kind == "html" else timeline_picture(layout, kind)
        write_private(output, page, queue=directory)
        if str(output) != "-":
            say(f"{output}: {layout.title}")
    if spans.unreadable:
        say(f"not there, or unreadable: {spans.unreadable} of the jobs; see: jqueue-archive verify")
    if ids and spans.unreadable:
        raise click.exceptions.Exit(1)


def _put_text(layout: Layout, columns: int) -> None:
    from rich.console import Console  # noqa: PLC0415 - for text only

    from archive_tools.timeline_text import timeline_text  # noqa: PLC0415 - as above

    console = Console(width=columns, highlight=False, markup=False, emoji=False)
    for line in timeline_text(layout, columns, unicode=has_unicode()):
        console.print(line, soft_wrap=False, overflow="ellipsis", no_wrap=True)
