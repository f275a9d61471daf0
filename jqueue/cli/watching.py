"""`watch`: what happens to jobs, as it happens, until they have ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import click

from jqueue.cli.command import Settings, command, ended_by, pass_settings
from jqueue.cli.following import AT_ONCE, Following
from jqueue.cli.jobids import JOB_ID
from jqueue.cli.logs import entry_as_json, entry_text
from jqueue.cli.news import Event, News
from jqueue.cli.waiting import EXIT_TIMEOUT, NOBODY
from jqueue.console.secrets import show_secrets_option, shown_summary
from jqueue.console.show import painted_status, put_json
from jqueue.console.terminal import faint, flush, paint, printable, put_painted, say
from jqueue.console.values import DURATION
from jqueue.errors import WaitTimeout
from jqueue.job.status import JobStatus

if TYPE_CHECKING:
    from jqueue.job.snapshot import Job


class Teller(Protocol):
    """Tells a person, or a program, what happens."""

    def tell(self, job: Job) -> None:
        """Tell what is new of a job."""

    def absent(self) -> None:
        """Tell that nobody runs the queue for now."""


@command("watch")
@show_secrets_option
@click.option("--children", is_flag=True, help="Watch what they submit, too.")
@click.option("--timeout", "timeout_s", type=DURATION, help="Give up then, with exit code 3.")
@click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="ID...")
@pass_settings
@click.pass_context
def watch(
    context: click.Context,
    settings: Settings,
    *,
    children: bool,
    timeout_s: float | None,
    ids: tuple[int, ...],
) -> None:
    """Follow jobs until they have ended: 0 all succeeded, 1 one failed or was canceled, 3 timeout.

    A line for each change of status and each line of their logs; on a terminal with their progress
    below. With --json an object a line: {"job", "op", "status"}, where op null means the job, or
    {"job", "child"}, or what `log --json` prints and the job. A daemon that goes is waited for.

    \b
    Example:
      jqueue watch 17
      jqueue watch --children --timeout 2h 17 18 | grep error
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if len(set(ids)) > AT_ONCE:
        raise click.UsageError(f"At most {AT_ONCE} jobs at once; jqueue wait takes any number.")
    with settings.open() as queue:
        following = Following(queue, ids, family=children, timeout_s=timeout_s)
        try:
            if is_live(settings):
                ended = follow_live(following)
            else:
                ended = follow(following, Plain(settings))
        except WaitTimeout:
            unfinished = ", ".join(map(str, following.unfinished))
            say(f"Not ended within {timeout_s:g} s: {unfinished}")
            context.exit(EXIT_TIMEOUT)
    context.exit(0 if all(status is JobStatus.SUCCESS for status in ended) else 1)


def is_live(settings: Settings) -> bool:
    """Whether a picture below the lines makes sense."""
    return not settings.as_json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def follow_live(following: Following) -> list[JobStatus]:
    """Follow jobs with a picture of their progress below the lines."""
    from jqueue.cli.livejobs import LiveJobs  # noqa: PLC0415 - rich, for a terminal only

    # The cursor is hidden meanwhile: whatever ends it must show it again.
    with ended_by(signal.SIGTERM, signal.SIGHUP), LiveJobs() as live:
        return follow(following, live)


def follow(following: Following, teller: Teller) -> list[JobStatus]:
    """Tell what happens until all have ended; return how they did."""
    following.on_absence(teller.absent)
    ended = []
    for job in following:
        teller.tell(job)
        if job.finalized:
            ended.append(job.status)
    return ended


class Plain:
    """A line each, of which the first word is always `job`; or an object each."""

    def __init__(self, settings: Settings) -> None:
        self._as_json = settings.as_json
        self._news = News()

    def tell(self, job: Job) -> None:
        """Print what is new."""
        for event in self._news.of(job):
            if self._as_json:
                put_json(event_as_json(event))
            else:
                for line in event_lines(event):
                    put_painted(line)
        flush()

    def absent(self) -> None:
        """Say it beside the data."""
        say(NOBODY)


def event_as_json(event: Event) -> dict[str, Any]:
    """The event as a line of JSON."""
    head = {"job": event.job}
    if event.child is not None:
        return {**head, "child": event.child}
    if event.entry is not None and event.op is not None:
        return {**head, **entry_as_json(event.op.index, event.entry)}
    return {**head, "op": None if event.op is None else event.op.index, "status": event.status}


def event_lines(event: Event) -> Iterator[str]:
    """The event as lines that can be printed: `job 17.0 COPY: running`, `job 17.0 | a log line`."""
    name = f"job {event.job}"
    if event.child is not None:
        yield f"{name}: submitted job {event.child}"
    elif event.op is None:
        yield f"{name}: {painted_status(event.status or '')}"
    elif event.entry is None:
        summary = paint(shown_summary(event.op), "blue")
        yield f"{name}.{event.op.index} {summary}: {painted_status(event.status or '')}"
    else:
        for line in entry_text(event.entry).splitlines() or [""]:
            yield f"{faint(f'{name}.{event.op.index} |')} {printable(line)}"
