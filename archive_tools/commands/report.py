"""`report`: all that a bug report needs, in one file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from archive_tools.command import command, directory_argument
from archive_tools.pictures import write_private
from archive_tools.report import WARNING
from archive_tools.report import report as make_report
from archive_tools.report_facts import gather
from jqueue.console.terminal import say


@command("report")
@directory_argument()
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    help="The HTML file to write; - is the standard output.",
)
@click.option("--no-logs", is_flag=True, help="Leave out what the jobs said.")
def report(directory: Path, *, output: Path, no_logs: bool) -> None:
    """Write one HTML file about DIRECTORY for a bug report, without what looks like a secret.

    It holds the state of the queue, what verify finds, pictures (with the extra `pictures`), the
    failed and the running jobs, the end of the journal, and versions.  It needs no network.

    \b
    Example:
      jqueue-archive report /var/lib/jqueue --output report.html
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    facts = gather(directory)
    page = make_report(facts, now=datetime.now(UTC), logs=not no_logs)
    write_private(output, page, queue=directory)
    if str(output) != "-":
        say(f"{output}: {len(page):,} bytes. {WARNING}")
