"""Many jobs of a queue directory, one after the other: in order, in bounded memory, with all
processors where they are many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from archive_tools.parallel import in_chunks
from jqueue.errors import QueueFailed
from jqueue.job.change import Document
from jqueue.job.ids import ARCHIVE_DIVISOR, archive_dir, job_file_name
from jqueue.job.query.choice import Choice
from jqueue.job.state import Entry, Place
from jqueue.job.status import FINALIZED
from jqueue.store import opening
from jqueue.store.disk import Disk, QuietDisk
from jqueue.store.offline import OfflineQueue
from jqueue.store.packed import Packs

Result = TypeVar("Result")


class Read(NamedTuple):
    """A job that was looked for; `document` is None if it is nowhere or can't be read."""

    job: int
    document: Document | None
    archived: bool


class Sought(NamedTuple):
    """A job to be read: what the journal says of it if that counts, and where to look first."""

    job: int
    entry: Entry | None = None
    where: Literal["", "archive", "pack"] = ""


Work = Callable[[Iterator[Read]], list[Result]]
"""What is done with many jobs: picklable, as its results are."""


def seek(queue: OfflineQueue, ids: Iterable[int]) -> Iterator[Sought]:
    """Yield the jobs with these IDs, to be read wherever they are."""
    values = queue.found.values
    for job in ids:
        entry = values.get(job)
        yield Sought(job, entry if isinstance(entry, Entry) else None)


def seek_chosen(
    queue: OfflineQueue, ids: Iterable[int], choice: Choice, *, archived: bool
) -> Iterator[Sought]:
    """Yield, ascending, all among which `choice` chooses, as `jqueue list` does.

    Those named by `ids`, or by the filter, wherever they are; else live ones, and with `archived`,
    or where the filter asks for them, archived ones too.
    """
    asked = tuple(ids) or choice.ids
    if asked:
        yield from seek(queue, sorted(set(asked)))
    elif archived or choice.names_archived:
        yield from seek_all(queue)
    elif choice.statuses and FINALIZED.isdisjoint(choice.statuses):
        yield from seek(queue, queue.open_ids())
    else:
        yield from seek(queue, queue.job_ids())


def seek_all(queue: OfflineQueue) -> Iterator[Sought]:
    """Yield all live and archived jobs, ascending.

    Of the archived ones one directory's are held at a time.
    """
    live = queue.job_ids()
    values = queue.found.values
    known = sorted(key for key in values if type(key) is int and key not in queue.damaged)
    newest = values.get("serial") or 0
    listed = set(opening.archive_numbers(queue.disk))
    for number in sorted(listed.union(job // ARCHIVE_DIVISOR for job in (*live, *known))):
        here = set(_within(live, number))
        loose, found = set[int](), set(here)
        if number in listed:
            loose = opening.named_in(queue.disk, f"archive/{number}")
            found |= opening.archived_in(queue.disk, number, queue.packs)
        for key in _within(known, number):
            opening.list_job(found, key, values[key], archived=True)
        for sought in seek(queue, sorted(found)):
            job = sought.job
            # Beside an owner: what was submitted and archived since this moment.
            if queue.owned and job > newest:
                continue
            yield (
                sought
                if job in here
                else sought._replace(where="archive" if job in loose else "pack")
            )


def _within(jobs: list[int], number: int) -> list[int]:
    """Return those of the ascending `jobs` that belong into archive directory `number`."""
    first = number * ARCHIVE_DIVISOR
    return jobs[bisect_left(jobs, first) : bisect_left(jobs, first + ARCHIVE_DIVISOR)]


def worked(queue: OfflineQueue, jobs: Iterable[Sought], work: Work[Result]) -> Iterator[Result]:
    """Yield the results of `work` on these jobs, a thousand at a time, in their order."""
    return in_chunks(partial(_chunk, queue.path, work), jobs)


def _chunk(path: Path, work: Work[Result], jobs: list[Sought]) -> list[Result]:
    with QuietDisk(path) as disk:
        return work(read_jobs(disk, jobs))


def read_jobs(disk: Disk, jobs: Iterable[Sought]) -> Iterator[Read]:
    """Yield these jobs, each read when it is its turn."""
    packs = Packs(disk)
    for sought in jobs:
        try:
            document = _read_archived(disk, packs, sought) if sought.entry is None else None
        except (opening.Damaged, FileNotFoundError, QueueFailed):
            document = None
        if document is not None:
            yield Read(sought.job, document, archived=True)
        else:
            yield _read_anywhere(disk, packs, sought)


def _read_archived(disk: Disk, packs: Packs, sought: Sought) -> Document | None:
    """Read it right where it was listed: most jobs of a long history are there."""
    if sought.where == "archive":
        path = f"{archive_dir(sought.job)}/{job_file_name(sought.job)}"
        return opening.read_document(disk, path, sought.job)
    if sought.where == "pack":
        return opening.read_packed(packs, sought.job, job_file_name(sought.job))
    return None


def _read_anywhere(disk: Disk, packs: Packs, sought: Sought) -> Read:
    """Look in all places, in their order: the job may have moved since it was listed."""
    try:
        entry = sought.entry or opening.load(disk, sought.job, packs)
    except QueueFailed:
        # Of this one file the operating system lets us see nothing.
        entry = None
    if entry is None:
        return Read(sought.job, None, archived=False)
    return Read(sought.job, entry.document, entry.place is Place.ARCHIVE)
