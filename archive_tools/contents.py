"""What a queue holds, as one stream of plain values: what export writes and import reads.

`State` comes first, then every job once (live ones, then archived ones, each ascending), then the
files that can't be read as a job, so that nothing is lost and nothing is believed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

from jqueue.errors import JQueueError
from jqueue.job.change import Document
from jqueue.job.ids import ARCHIVE_DIVISOR, archive_dir, job_file_name, parse_job_file_name
from jqueue.job.state import Entry, Place
from jqueue.store import jobfiles
from jqueue.store.files import QUARANTINE
from jqueue.store.offline import Listed, OfflineQueue


class State(NamedTuple):
    """What is not a job: the moment (its LSN), the last ID given out, flags, idempotency keys."""

    lsn: int
    serial: int
    drain: dict[str, Any] | None
    pause: dict[str, Any] | None
    keys: dict[str, Any]


class Exported(NamedTuple):
    """One job."""

    document: Document
    archived: bool


class Unreadable(NamedTuple):
    """A file that is no job: its bytes in base64, None where it isn't even a regular file."""

    file: str
    reason: str
    data: str | None


class Contents(NamedTuple):
    """A queue at one moment; `items` can be read once."""

    state: State
    items: Iterator[Exported | Unreadable]


def read_contents(queue: OfflineQueue) -> Contents:
    """Return what the queue holds: all of it at its moment, whatever its owner does meanwhile."""
    values = queue.found.values
    keys = {str(key)[4:]: values[key] for key in values if str(key).startswith("key/")}
    serial = values.get("serial") or 0
    state = State(queue.lsn, serial, values.get("drain"), values.get("pause"), keys)
    return Contents(state, _items(queue))


def _items(queue: OfflineQueue) -> Iterator[Exported | Unreadable]:
    unreadable: list[str] = []
    known: set[int] = set()
    for job, entry in queue.entries(queue.job_ids()):
        if entry is not None and entry.document is not None:
            known.add(job)
            yield Exported(entry.document, archived=False)
        else:
            unreadable.append(job_file_name(job))
    for listed in queue.by_directory():
        twins = set() if queue.owned else _twins(queue, listed)
        for job, entry in _archived(queue, listed, known, twins):
            path = f"{archive_dir(job)}/{job_file_name(job)}"
            if entry is None or entry.place is Place.QUARANTINE:
                unreadable.append(path)
            elif entry.document is not None:
                yield Exported(entry.document, archived=True)
            # Else it was pruned since the moment, and nothing has it any more.
        unreadable += [f"{archive_dir(job)}/{job_file_name(job)}" for job in sorted(twins & known)]
    for path in unreadable + _misplaced(queue) + _quarantined(queue):
        yield _raw(queue, path, known)


def _twins(queue: OfflineQueue, listed: Listed) -> set[int]:
    """Return the live jobs that are archived, too."""
    number = min(listed.live, default=0) // ARCHIVE_DIVISOR
    if not listed.live or not queue.disk.is_dir(f"archive/{number}"):
        return set()
    return listed.live & jobfiles.archived_in(queue.disk, number, queue.packs)


def _archived(
    queue: OfflineQueue, listed: Listed, known: set[int], twins: set[int]
) -> Iterator[tuple[int, Entry | None]]:
    """Yield the archived jobs, and of damaged live ones what their twins hold."""
    yield from queue.entries(job for job in listed.jobs if job not in listed.live)
    for job in sorted(twins - known):
        try:
            document = jobfiles.read_archived(queue.disk, job, queue.packs)
        except jobfiles.Damaged:
            document = None
        yield job, None if document is None else Entry(document, Place.ARCHIVE, 0)


def _misplaced(queue: OfflineQueue) -> list[str]:
    found = []
    for number in jobfiles.archive_numbers(queue.disk):
        directory = f"archive/{number}"
        for name in sorted(queue.disk.names(directory)):
            job = parse_job_file_name(name)
            if job is not None and archive_dir(job) != directory:
                found.append(f"{directory}/{name}")
    return found


def _quarantined(queue: OfflineQueue) -> list[str]:
    if not queue.disk.is_dir(QUARANTINE):
        return []
    found = []
    for name in sorted(queue.disk.names(QUARANTINE)):
        path = f"{QUARANTINE}/{name}"
        if queue.disk.is_dir(path):  # of a repair
            found += [f"{path}/{inner}" for inner in sorted(queue.disk.names(path))]
        else:
            found.append(path)
    return found


def _raw(queue: OfflineQueue, path: str, live: set[int]) -> Unreadable:
    directory, _, name = path.rpartition("/")
    job = parse_job_file_name(name)
    if directory.startswith(QUARANTINE) or job is None:
        reason = "set aside in quarantine"
    elif directory and archive_dir(job) != directory:
        reason = f"in the wrong archive directory, not {archive_dir(job)}"
    elif directory and job in live:
        reason = "the job is live, too"
    else:
        reason = _fault(queue, path, job)
    try:
        data = queue.disk.read(path, jobfiles.MAX_JOB_BYTES)
    except FileNotFoundError:
        found = None if job is None else queue.packs.read(job)
        return Unreadable(path, reason, None if found is None else _base64(found))
    except OSError:
        return Unreadable(path, reason, None)
    return Unreadable(path, reason, _base64(data))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _fault(queue: OfflineQueue, path: str, job: int) -> str:
    try:
        jobfiles.read_document(queue.disk, path, job)
    except (jobfiles.Damaged, OSError, JQueueError) as error:
        return " ".join(str(error).split())[:500]
    return "set aside"
