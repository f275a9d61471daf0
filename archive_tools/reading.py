"""Many jobs of a queue directory, one after the other: in order, in bounded memory, with all
processors where they are many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from archive_tools.parallel import in_chunks
from jqueue.errors import QueueFailed
from jqueue.job.change import Document
from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.job.state import Entry, Place
from jqueue.store import opening
from jqueue.store.disk import QuietDisk
from jqueue.store.offline import OfflineQueue
from jqueue.store.packed import Packs

Result = TypeVar("Result")


class Read(NamedTuple):
    """A job that was looked for; `document` is None if it is nowhere or can't be read."""

    job: int
    document: Document | None
    archived: bool


Work = Callable[[Iterator[Read]], list[Result]]
"""What is done with many jobs: picklable, as its results are."""

Item = tuple[int, Entry | None]
"""A job, and what the journal says of it if that counts."""


def job_numbers(queue: OfflineQueue, *, archived: bool) -> Iterator[int]:
    """Yield the IDs of all live (and archived) jobs, ascending.

    Of the archived ones one directory's are held at a time.
    """
    live = queue.job_ids()
    if not archived:
        yield from live
        return
    values = queue.found.values
    known = sorted(key for key in values if type(key) is int and key not in queue.damaged)
    newest = values.get("serial") or 0
    listed = set(opening.archive_numbers(queue.disk))
    for number in sorted(listed.union(job // ARCHIVE_DIVISOR for job in (*live, *known))):
        found = set(_within(live, number))
        if number in listed:
            found |= opening.archived_in(queue.disk, number, queue.packs)
        for key in _within(known, number):
            opening.list_job(found, key, values[key], archived=True)
        # Beside an owner: what was submitted and archived since this moment.
        yield from (job for job in sorted(found) if job <= newest or not queue.owned)


def _within(jobs: list[int], number: int) -> list[int]:
    """Return those of the ascending `jobs` that belong into archive directory `number`."""
    first = number * ARCHIVE_DIVISOR
    return jobs[bisect_left(jobs, first) : bisect_left(jobs, first + ARCHIVE_DIVISOR)]


def worked(queue: OfflineQueue, jobs: Iterable[int], work: Work[Result]) -> Iterator[Result]:
    """Yield the results of `work` on these jobs, a thousand or so at a time, in their order."""
    values = queue.found.values

    def item(job: int) -> Item:
        entry = values.get(job)
        return job, entry if isinstance(entry, Entry) else None

    return in_chunks(partial(_chunk, queue.path, work), map(item, jobs))


def read_jobs(queue: OfflineQueue, jobs: Iterable[int]) -> Iterator[Read]:
    """Yield these jobs, each read when it is its turn."""
    for job in jobs:
        yield _as_read(job, queue.find(job))


def _as_read(job: int, entry: Entry | None) -> Read:
    if entry is None:
        return Read(job, None, archived=False)
    return Read(job, entry.document, entry.place is Place.ARCHIVE)


def _chunk(path: Path, work: Work[Result], items: list[Item]) -> list[Result]:
    with QuietDisk(path) as disk:
        return work(_read_files(disk, items))


def _read_files(disk: QuietDisk, items: list[Item]) -> Iterator[Read]:
    packs = Packs(disk)
    for job, entry in items:
        try:
            yield _as_read(job, entry or opening.load(disk, job, packs))
        except QueueFailed:
            # Of this one file the operating system lets us see nothing.
            yield Read(job, None, archived=False)
