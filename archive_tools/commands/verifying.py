"""`verify`: everything that is wrong with a directory."""

from __future__ import annotations

from pathlib import Path

import click

from archive_tools.command import FindingCommand, command, directory_argument, json_option
from archive_tools.progress import progress
from archive_tools.verify import jobs_at_most
from archive_tools.verify import verify as find_faults
from jqueue.console.show import put_json_array
from jqueue.console.terminal import put, say


@command("verify", cls=FindingCommand)
@directory_argument()
@click.option("--errors-only", is_flag=True, help="Leave out notes: what harms nothing.")
@json_option("An array of findings with stable codes.")
@click.pass_context
def verify(context: click.Context, directory: Path, *, errors_only: bool, as_json: bool) -> None:
    """Name everything that is wrong with DIRECTORY: 0 clean, 1 findings, 2 can't read.

    \b
    Example:
      jqueue-archive verify /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    with progress("verifying", jobs_at_most(directory)) as advance:
        findings = find_faults(directory, advance=advance)
    if errors_only:
        findings = [finding for finding in findings if finding.level == "error"]
    if as_json:
        put_json_array(finding._asdict() for finding in findings)
    else:
        for finding in findings:
            put(f"{finding.code:<18} {finding.text}")
        say(f"{len(findings)} findings" if findings else "clean")
    context.exit(1 if findings else 0)
