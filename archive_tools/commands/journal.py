"""`journal`: the journal as readable lines, and followed as it is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from archive_tools.command import command, directory_argument, json_option
from archive_tools.history import in_utc
from archive_tools.jobids import JOB_ID
from archive_tools.journal import NOT_CHANGES, Damage, Part, parts, said, time_of
from archive_tools.journal_following import follow
from archive_tools.moments import AT, At
from jqueue.console.secrets import show_secrets_option
from jqueue.console.show import put_json
from jqueue.console.terminal import flush, put, say
from jqueue.console.times import local
from jqueue.job.change import KINDS
from jqueue.store.lock import is_owned
from jqueue.store.realdisk import QuietDisk
from jqueue.store.record import Header
from jqueue.store.segment import segment_path

ALL_KINDS: Final = (*KINDS, *NOT_CHANGES)


class Choice(NamedTuple):
    """Which lines are shown."""

    jobs: frozenset[int]
    kinds: frozenset[str]
    since: At | None
    until: At | None

    def takes_time(self, lsn: int, time: datetime | None) -> bool:
        """Say whether a record is between the two ends; without a time it is between no times."""
        return not (_is_before(lsn, time, self.since) or _is_after(lsn, time, self.until))

    def takes(self, kind: str, job: int | None) -> bool:
        """Say whether a line is about what was asked for; damage always is."""
        if kind == "damaged":
            return True
        return (not self.kinds or kind in self.kinds) and (not self.jobs or job in self.jobs)


def _is_before(lsn: int, time: datetime | None, end: At | None) -> bool:
    if end is None:
        return False
    return lsn < end if isinstance(end, int) else time is None or time < end


def _is_after(lsn: int, time: datetime | None, end: At | None) -> bool:
    if end is None:
        return False
    return lsn > end if isinstance(end, int) else time is None or time > end


@command("journal")
@show_secrets_option
@directory_argument()
@click.option("--job", "jobs", multiple=True, type=JOB_ID, metavar="ID", help="Of this job only.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(ALL_KINDS),
    metavar="KIND",
    help=f"Of this kind only: {', '.join(ALL_KINDS)}.",
)
@click.option("--since", type=AT, metavar="LSN|TIME", help="From there on.")
@click.option("--until", type=AT, metavar="LSN|TIME", help="Up to there.")
@click.option("--follow", "following", is_flag=True, help="Go on as it is written, until Ctrl-C.")
@json_option("An object a line.")
@click.pass_context
def journal(
    context: click.Context,
    directory: Path,
    *,
    jobs: tuple[int, ...],
    kinds: tuple[str, ...],
    since: At | None,
    until: At | None,
    following: bool,
    as_json: bool,
) -> None:
    """Show the journal of DIRECTORY, all that is kept, a line for each thing that a record says.

    Damage is shown where it is, and makes the exit code 1.  With --follow what nothing claims
    durable yet is waited for.

    \b
    Example:
      jqueue-archive journal --job 12 --since "2h ago" /var/lib/jqueue
      jqueue-archive journal --follow /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    choice = Choice(frozenset(jobs), frozenset(kinds), since, until)
    show = _put_json if as_json else _put_line
    damaged = False
    with QuietDisk(directory) as disk, contextlib.suppress(KeyboardInterrupt):
        found = follow(disk) if following else parts(disk, owned=is_owned(directory))
        for part in found:
            damaged = damaged or isinstance(part.what, Damage)
            for line in _lines(part, choice):
                show(line)
            if following:
                flush()
    if damaged:
        say(f"the journal is torn or damaged; see: jqueue-archive verify {directory}")
    context.exit(1 if damaged else 0)


class Line(NamedTuple):
    """One line of output."""

    segment: int
    offset: int | None
    lsn: int | None
    time: datetime | None
    kind: str
    job: int | None
    op: int | None
    text: str
    value: Any


def _lines(part: Part, choice: Choice) -> Iterator[Line]:
    number, what = part
    if isinstance(what, Damage):
        yield Line(number, what.offset, None, None, "damaged", None, None, what.text, None)
    elif isinstance(what, Header):
        if choice.takes("segment", None) and choice.takes_time(what.first_lsn, None):
            text = f"segment {number} begins, {what.mode}, serial {what.serial}"
            yield Line(number, 0, what.first_lsn, None, "segment", None, None, text, what._asdict())
    else:
        time = time_of(what.value.get("time"))
        if not choice.takes_time(what.lsn, time):
            return
        for one in said(what.value):
            if choice.takes(one.about, one.job):
                yield Line(
                    number, what.offset, what.lsn, time, one.about, one.job, one.op, one.text,
                    one.value,
                )  # fmt: skip


def _put_line(line: Line) -> None:
    if line.kind == "damaged":
        at = "" if line.offset is None else f" at offset {line.offset}"
        put(f"{'DAMAGED':>19}  {segment_path(line.segment)}{at}: {line.text}")
        return
    about = "" if line.job is None else f"job {line.job}"
    about += "" if line.op is None else f" opcode {line.op}"
    put(f"{local(line.time):<19}  {line.lsn:>8}  {about}{': ' if about else ''}{line.text}")


def _put_json(line: Line) -> None:
    put_json({**line._asdict(), "time": in_utc(line.time)})
