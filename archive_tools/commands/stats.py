"""`stats`: what the jobs of a directory come to as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.commands.picture_file import PictureFile
from archive_tools.jobids import JOB_ID
from archive_tools.moments import At, at_option, open_at
from archive_tools.progress import progress
from archive_tools.reading import seek_chosen
from archive_tools.show_stats import put_stats
from archive_tools.stats import Stats, stats_of
from jqueue.console.choosing import choice_options
from jqueue.console.show import put_json
from jqueue.job.query import Choice

PICTURE: Final = PictureFile("svg", "png")


@command("stats")
@directory_argument()
@click.argument("ids", nargs=-1, type=JOB_ID, metavar="[ID]...")
@choice_options
@click.option("--live", is_flag=True, help="Live jobs only, not the archived ones.")
@click.option(
    "--picture", type=PICTURE, help="Draw times, throughput and errors into this file.svg or .png."
)
@at_option
@json_option("All of it, the distributions by their buckets.")
def stats(  # noqa: PLR0913  # as many as there are independent facts
    directory: Path,
    ids: tuple[int, ...],
    *,
    statuses: tuple[str, ...],
    since: float | None,
    expr: Any,
    live: bool,
    picture: Path | None,
    as_json: bool,
    at: At | None,
) -> None:
    """Count the jobs of DIRECTORY, live and archived: by status, kind, time and submitter.

    And how long they waited and ran, what failed, and what was repeated.  Times are UTC; a p50, p90
    or p99 is right within 1 %, the rest is exact.

    \b
    Example:
      jqueue-archive stats --since 7d /var/lib/jqueue
      jqueue-archive stats /var/lib/jqueue --picture stats.svg
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    choice = Choice(statuses, since, expr)
    found = Stats()
    with open_at(directory, at) as queue:
        jobs = seek_chosen(queue, ids, choice, archived=not live)
        with progress("counting", queue.find("serial")) as advance:
            for part in stats_of(queue, jobs, choice):
                found.merge(part)
                advance(part.looked)
    if picture is not None:
        # Imported here: what draws is in an extra, and large.
        from archive_tools.pictures import write_private  # noqa: PLC0415
        from archive_tools.pictures_stats import stats_picture  # noqa: PLC0415

        drawn = stats_picture(found, PICTURE.kind_of(picture))
        write_private(picture, drawn, queue=directory)
        if str(picture) == "-":
            return
    if as_json:
        put_json(found.to_dict())
    else:
        put_stats(found)
