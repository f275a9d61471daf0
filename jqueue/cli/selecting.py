"""Choosing jobs of a queue: by ID, status, time, and Ganeti's query language."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from jqueue.job.query.choice import Choice
from jqueue.job.snapshot import Job

if TYPE_CHECKING:
    from jqueue.cli.target import Client


def choose(
    queue: "Client",
    ids: Iterable[int],
    choice: Choice,
    *,
    archived: bool = False,
    seen: Callable[[int], object] = lambda _job: None,
) -> Iterator[Job]:
    """Yield the jobs that are meant, ascending; `seen` is told of each that was looked at.

    Named ones may be archived; else live ones, and with `archived`, or where the filter asks for
    them, archived ones too.
    """
    asked = tuple(ids) or choice.ids or ()
    if asked:
        found = queue.jobs(ids=asked, archived=True)
    else:
        found = queue.jobs(
            statuses=choice.statuses or None, archived=archived or choice.names_archived
        )
    for job in found:
        seen(job.id)
        if choice.matches(job):
            yield job
