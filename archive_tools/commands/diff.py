"""`diff`: two moments of a queue, or two directories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from archive_tools.command import FindingCommand, command, directory_argument, json_option
from archive_tools.commands.history import told
from archive_tools.diff import Difference, compare
from archive_tools.moments import AT, At, open_at
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json_array
from jqueue.console.terminal import put, say

SIGNS = {"left": "-", "right": "+", "changed": "~"}


@command("diff", cls=FindingCommand)
@show_secrets_option
@directory_argument()
@click.argument("other", required=False, type=click.Path(path_type=Path), metavar="[DIRECTORY2]")
@click.option("--from", "begin", type=AT, metavar="LSN|TIME", help="DIRECTORY as it was.")
@click.option("--to", "end", type=AT, metavar="LSN|TIME", help="The other, as it was.")
@json_option("An array of differences: what, job, text, changes.")
@click.pass_context
def diff(
    context: click.Context,
    directory: Path,
    other: Path | None,
    *,
    begin: At | None,
    end: At | None,
    as_json: bool,
) -> None:
    """Show what is different in DIRECTORY between two moments, or in DIRECTORY2.

    0 nothing, 1 something, 2 can't read.  What a line begins with: - for what is only in the first,
    + only in the second, ~ for what changed.

    \b
    Example:
      jqueue-archive diff /var/lib/jqueue --from "1h ago"
      jqueue-archive diff /var/lib/jqueue /backup/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if other is None and begin is None:
        raise click.UsageError("a second directory, or --from: with what is it to be compared?")
    with open_at(directory, begin) as left, open_at(other or directory, end) as right:
        found = _Counted(compare(left, right, same=other is None))
        if as_json:
            put_json_array(map(_row, found))
        else:
            for difference in found:
                put(_line(difference))
    say(f"{found.count} differences" if found.count else "no difference")
    context.exit(1 if found.count else 0)


class _Counted:
    def __init__(self, differences: Iterator[Difference]) -> None:
        self.count = 0
        self._differences = differences

    def __iter__(self) -> Iterator[Difference]:
        for difference in self._differences:
            self.count += 1
            yield difference


def _row(difference: Difference) -> dict[str, object]:
    return {
        "what": difference.what,
        "job": difference.job,
        "text": difference.text,
        "changes": [delta._asdict() for delta in difference.deltas],
    }


def _line(difference: Difference) -> str:
    sign = SIGNS.get(difference.what, "~")
    changes = told(difference.deltas)
    if difference.job is None:
        return f"{sign} {changes}"
    return f"{sign} job {difference.job}  {changes or difference.text}"
