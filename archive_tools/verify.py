"""What is wrong with a queue directory, each finding with a stable code and its place.

journal-corrupt    something that was durable is damaged or missing
journal-torn       the end of the journal was never acknowledged; the next opening ignores it
format             a version or journal format this program does not know
job-unreadable     a job file that can't be read as the job its name says
job-twin           a job both live and archived
archive-misplaced  an archived job in the wrong directory
serial             a serial file that is no number, or lower than a job's ID
dependency         an unfinished job that depends on a job that is nowhere
foreign            a file that is none of the queue's; it is left alone
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from jqueue.errors import FormatTooNew, QueueCorrupt
from jqueue.job.ids import archive_dir, job_file_name, parse_job_file_name
from jqueue.job.state import Place, job_dependencies
from jqueue.store import opening
from jqueue.store.disk import TEMP_NAME
from jqueue.store.offline import OfflineQueue

_KNOWN: Final = frozenset(
    {"version", "serial", "drain", "pause", "lock", "owner", "socket", "config.toml"}
    | {"archive", "journal", "livelocks", "quarantine"}
)


class Finding(NamedTuple):
    """One thing that is wrong: a stable code, where, and what, in one line."""

    code: str
    path: str
    text: str


def verify(path: Path) -> list[Finding]:
    """Return every finding; an empty list is a healthy queue.  Changes nothing.

    Raises QueueFailed if there is no directory to read.
    """
    try:
        with OfflineQueue(path) as queue:
            return list(_findings(queue))
    except QueueCorrupt as error:
        return [Finding("journal-corrupt", str(getattr(error, "path", path)), str(error))]
    except FormatTooNew as error:
        return [Finding("format", str(getattr(error, "path", path)), str(error))]


def _findings(queue: OfflineQueue) -> Iterator[Finding]:
    journal = queue.found.journal
    if journal is not None and journal.torn is not None and not queue.owned:
        yield Finding("journal-torn", journal.newest.path, journal.torn)
    yield from _jobs(queue)
    yield from _archive(queue)
    yield from _serial(queue)
    for name in sorted(queue.disk.names()):
        if (
            name not in _KNOWN
            and parse_job_file_name(name) is None
            and not TEMP_NAME.fullmatch(name)
        ):
            yield Finding("foreign", name, f"{name!r} is none of the queue's files; left alone")


def _jobs(queue: OfflineQueue) -> Iterator[Finding]:
    for job in queue.job_ids():
        name = job_file_name(job)
        entry = queue.find(job)
        if entry is None:
            yield Finding("job-unreadable", name, f"job {job} has neither a file nor a record")
        elif entry.place is Place.QUARANTINE:
            reason = queue.damaged.get(job) or _reason(queue, name, job)
            yield Finding("job-unreadable", name, f"{name}: {reason}")
        elif entry.place is Place.LIVE and entry.document is not None:
            for target in sorted(job_dependencies(entry.document)):
                if job in queue.open_ids() and queue.find(target) is None:
                    yield Finding("dependency", name, f"job {job} depends on job {target}: nowhere")


def _reason(queue: OfflineQueue, path: str, job: int) -> str:
    try:
        opening.read_document(queue.disk, path, job)
    except (opening.Damaged, FileNotFoundError) as error:
        return str(error)
    return "unreadable"


def _archive(queue: OfflineQueue) -> Iterator[Finding]:
    live = set(queue.job_ids())
    for number in opening.archive_numbers(queue.disk):
        directory = f"archive/{number}"
        for name in sorted(queue.disk.names(directory)):
            job = parse_job_file_name(name)
            path = f"{directory}/{name}"
            if job is None:
                yield Finding("foreign", path, f"{path!r} is no archived job; left alone")
            elif archive_dir(job) != directory:
                yield Finding(
                    "archive-misplaced", path, f"{path}: job {job} belongs in {archive_dir(job)}"
                )
            elif job in live:
                yield Finding("job-twin", path, f"job {job} is both live and archived")
            else:
                try:
                    opening.read_document(queue.disk, path, job)
                except opening.Damaged as error:
                    yield Finding("job-unreadable", path, f"{path}: {error}")


def _serial(queue: OfflineQueue) -> Iterator[Finding]:
    highest = max(queue.job_ids(archived=True), default=0)
    try:
        text = queue.disk.read("serial", 64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        if highest and queue.found.journal is None:
            yield Finding("serial", "serial", f"missing, though job {highest} exists")
        return
    if not (text.isascii() and text.isdigit()):
        yield Finding("serial", "serial", f"not a number: {text!r:.60}")
    elif int(text) < highest and queue.found.journal is None:
        yield Finding("serial", "serial", f"serial {text} is lower than the ID of job {highest}")
