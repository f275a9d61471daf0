"""Many jobs of a queue directory, one after the other: in order, in bounded memory, with all
processors where they are many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from archive_tools.parallel import in_chunks
from jqueue.errors import QueueFailed
from jqueue.job.change import Document
from jqueue.job.ids import archive_dir, job_file_name
from jqueue.job.query.choice import Choice
from jqueue.job.state import Entry, Place
from jqueue.job.status import FINALIZED
from jqueue.store import jobfiles
from jqueue.store.disk import Disk
from jqueue.store.moment import Anchor, Moment
from jqueue.store.offline import OfflineQueue
from jqueue.store.packed import Packs
from jqueue.store.realdisk import QuietDisk

Result = TypeVar("Result")


class Read(NamedTuple):
    """A job that was looked for; `document` is None if it is nowhere or can't be read."""

    job: int
    document: Document | None
    archived: bool


Where = Literal["", "archive", "pack"]


class Sought(NamedTuple):
    """A job to be read: what the journal says of it if that counts, and where to look first."""

    job: int
    entry: Entry | None = None
    where: Where = ""


Work = Callable[[Iterator[Read]], list[Result]]
"""What is done with many jobs: picklable, as its results are."""


def seek(queue: OfflineQueue, ids: Iterable[int]) -> Iterator[Sought]:
    """Yield the jobs with these IDs, to be read wherever they are."""
    return (Sought(job, queue.known(job)) for job in ids)


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
    for listed in queue.by_directory():
        for job in listed.jobs:
            where: Where = "archive" if job in listed.loose else "pack"
            yield Sought(job, queue.known(job), "" if job in listed.live else where)


def worked(queue: OfflineQueue, jobs: Iterable[Sought], work: Work[Result]) -> Iterator[Result]:
    """Yield the results of `work` on these jobs, a thousand at a time, in their order."""
    call = next(_calls)
    try:
        yield from in_chunks(partial(_chunk, queue.path, queue.moment.anchor, call, work), jobs)
    finally:
        _moment.cache_clear()


_calls = count()


@lru_cache(maxsize=1)
def _moment(path: Path, anchor: Anchor, call: int) -> Moment:
    """Return the moment for one call of `worked`: its journal is read on from chunk to chunk."""
    del call
    return Moment(QuietDisk(path), anchor)


def _chunk(
    path: Path, anchor: Anchor, call: int, work: Work[Result], jobs: list[Sought]
) -> list[Result]:
    return work(read_jobs(_moment(path, anchor, call), jobs))


def read_jobs(moment: Moment, jobs: Iterable[Sought]) -> Iterator[Read]:
    """Yield these jobs as they were at the moment."""
    packs = Packs(moment.disk)
    read = ((sought.job, _look(moment.disk, packs, sought)) for sought in jobs)
    for job, entry in moment.settled(read, packs):
        if entry is None:
            yield Read(job, None, archived=False)
        else:
            yield Read(job, entry.document, entry.place is Place.ARCHIVE)


def _look(disk: Disk, packs: Packs, sought: Sought) -> Entry | None:
    if sought.entry is not None:
        return sought.entry
    try:
        document = _read_archived(disk, packs, sought)
    except (jobfiles.Damaged, FileNotFoundError, QueueFailed):
        document = None
    if document is not None:
        return Entry(document, Place.ARCHIVE, document.get("lsn", 0))
    try:
        # In all places, in their order: the job may have moved since it was listed.
        return jobfiles.load(disk, sought.job, packs)
    except QueueFailed:
        # Of this one file the operating system lets us see nothing.
        return None


def _read_archived(disk: Disk, packs: Packs, sought: Sought) -> Document | None:
    """Read it right where it was listed: most jobs of a long history are there."""
    if sought.where == "archive":
        path = f"{archive_dir(sought.job)}/{job_file_name(sought.job)}"
        return jobfiles.read_document(disk, path, sought.job)
    if sought.where == "pack":
        return jobfiles.read_packed(packs, sought.job, job_file_name(sought.job))
    return None
