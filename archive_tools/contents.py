"""What a queue holds, as one stream of plain values: what export writes and import reads.

`State` comes first, then every job once (live ones, then archived ones, each ascending), then the
files that can't be read as a job, so that nothing is lost and nothing is believed.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from jqueue.errors import JQueueError, QueueFailed
from jqueue.job.change import Document
from jqueue.job.ids import archive_dir, job_file_name, parse_job_file_name
from jqueue.job.state import Entry, Place
from jqueue.store import opening
from jqueue.store.files import QUARANTINE
from jqueue.store.offline import OfflineQueue

ATTEMPTS: Final = 20
"""A live queue whose jobs change while they are read is read again."""


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
    """Return what the queue holds.

    Raises QueueFailed if live jobs change faster than they can be read.
    """
    values = queue.found.values
    keys = {str(key)[4:]: values[key] for key in values if str(key).startswith("key/")}
    serial = values.get("serial") or 0
    state = State(queue.lsn, serial, values.get("drain"), values.get("pause"), keys)
    live = {job: queue.job(job) for job in queue.job_ids() if job <= serial}
    newer = [job.lsn for job in live.values() if job is not None and job.lsn > queue.lsn]
    if newer:
        raise _Changed(f"{queue.path}: jobs changed while they were read; read it again")
    return Contents(state, _items(queue, live, serial))


class _Changed(QueueFailed):
    """The moment has passed while it was looked at."""


def open_contents(path: Any) -> tuple[OfflineQueue, Contents]:
    """Open the queue at `path` and read its live jobs at one moment, again if it moves on."""
    for attempt in range(ATTEMPTS):
        queue = OfflineQueue(path)
        try:
            return queue, read_contents(queue)
        except _Changed:
            queue.close()
            if attempt + 1 == ATTEMPTS:
                raise
        except BaseException:
            queue.close()
            raise
    raise AssertionError


def _items(
    queue: OfflineQueue, live: dict[int, Any], serial: int
) -> Iterator[Exported | Unreadable]:
    unreadable: list[str] = []
    archived: list[int] = []
    for number, job in sorted(live.items()):
        if job is None:
            unreadable.append(job_file_name(number))
        elif job.archived:
            archived.append(number)
        else:
            yield Exported(job.to_dict(), archived=False)
    known = {number for number, job in live.items() if job is not None and not job.archived}
    listed = set(opening.archived_ids(queue.disk, queue.packs))
    gone = {key for key, value in queue.found.values.items() if _is_gone(value)}
    for number in sorted(listed.union(archived) - known - gone):
        if number > serial and queue.owned:
            continue
        found = _archived(queue, number)
        if found is None:
            unreadable.append(f"{archive_dir(number)}/{job_file_name(number)}")
        else:
            yield Exported(found, archived=True)
    # A job archived while this was read stands among the live ones already.
    twins = () if queue.owned else sorted(listed & known)
    unreadable += [f"{archive_dir(number)}/{job_file_name(number)}" for number in twins]
    unreadable += _misplaced(queue) + _quarantined(queue)
    for path in unreadable:
        yield _raw(queue, path, known)


def _archived(queue: OfflineQueue, number: int) -> Document | None:
    """Return an archived job's document, whatever its name among the live ones holds."""
    entry = queue.found.values.get(number)
    if isinstance(entry, Entry) and entry.place is Place.ARCHIVE:
        return entry.document
    try:
        return opening.read_archived(queue.disk, number, queue.packs)
    except opening.Damaged:
        return None


def _is_gone(value: Any) -> bool:
    return getattr(value, "place", None) is Place.GONE


def _misplaced(queue: OfflineQueue) -> list[str]:
    found = []
    for number in opening.archive_numbers(queue.disk):
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
        data = queue.disk.read(path, opening.MAX_JOB_BYTES)
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
        opening.read_document(queue.disk, path, job)
    except (opening.Damaged, OSError, JQueueError) as error:
        return " ".join(str(error).split())[:500]
    return "set aside"
