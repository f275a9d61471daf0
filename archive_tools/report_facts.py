"""What a report for a bug is made of: one pass over all jobs, verify's findings, the journal's end.

A queue whose journal is damaged is told about as far as it can be: that is when it is needed.
"""

from __future__ import annotations

import heapq
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from archive_tools.findings import Finding
from archive_tools.journal import NOT_CHANGES, Said, records_in, said
from archive_tools.reading import Read, seek_all, worked
from archive_tools.stats import Stats
from archive_tools.timeline import Spans
from archive_tools.timeline_reading import attempts_of
from archive_tools.verify import verify
from jqueue._version import __version__
from jqueue.errors import JQueueError
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.status import FINALIZED, JobStatus, calc_status
from jqueue.job.transitions import finished_at
from jqueue.store.lock import read_owner
from jqueue.store.offline import OfflineQueue
from jqueue.store.place import filesystem_warning
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import JOURNAL, segment_numbers

MAX_FAILED: Final = 50
MAX_BEGUN: Final = 50
MAX_RECORDS: Final = 100
MAX_FINDINGS: Final = 200

PACKAGES: Final = ("click", "filelock", "google-re2", "lark", "matplotlib", "orjson", "rich")


class Survey:
    """What one pass over the jobs comes to: numbers, spans, and which jobs are told about."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.spans = Spans()
        self.failed: list[tuple[float, int]] = []
        """When, and which job: the last ones that ended with an error, a heap."""
        self.begun: list[int] = []
        """The first ones that are running, waiting or canceling, ascending."""

    def add(self, read: Read) -> None:
        """Take a job."""
        if read.document is None:
            self.stats.unreadable += 1
            self.spans.unreadable += 1
            return
        size_bytes = len(jsonio.dumps(read.document)) + 1
        self.stats.add(read.document, archived=read.archived, size_bytes=size_bytes)
        self.spans.add(read.document)
        status = calc_status(read.document["ops"])
        if status is JobStatus.ERROR:
            self._note_failed(finished_at(read.document) or 0.0, read.job)
        elif status not in FINALIZED and status is not JobStatus.QUEUED:
            self.begun = sorted([*self.begun, read.job])[:MAX_BEGUN]

    def merge(self, other: Survey) -> None:
        """Take all that `other` took."""
        self.stats.merge(other.stats)
        self.spans.merge(other.spans)
        for at, job in other.failed:
            self._note_failed(at, job)
        self.begun = sorted([*self.begun, *other.begun])[:MAX_BEGUN]

    def _note_failed(self, at: float, job: int) -> None:
        heapq.heappush(self.failed, (at, job))
        if len(self.failed) > MAX_FAILED:
            heapq.heappop(self.failed)


class Record(NamedTuple):
    """A record of the journal, without what its changes say of parameters, results and logs."""

    lsn: int
    time: float
    changes: list[str]


@dataclass
class Facts:
    """All that a report tells, before anything is redacted."""

    path: Path
    findings: list[Finding]
    environment: list[tuple[str, str]]
    problem: str | None = None
    """Why the state of the queue can't be read."""
    owned: bool = False
    owner: dict[str, Any] | None = None
    lsn: int = 0
    serial: int = 0
    drain: dict[str, Any] | None = None
    pause: dict[str, Any] | None = None
    survey: Survey = field(default_factory=Survey)
    failed: list[Document] = field(default_factory=list)
    """The last ones first."""
    begun: list[Document] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    """The last ones, the last one last."""


def gather(path: Path) -> Facts:
    """Return the facts about the queue at `path`, owned or dead, changing nothing (P13).

    Raises QueueFailed if there is no directory to read.
    """
    facts = Facts(path, verify(path), list(_environment(path)))
    facts.owner = read_owner(path)
    with QuietDisk(path) as disk:
        facts.records = last_records(disk)
    try:
        with OfflineQueue(path) as queue:
            _read(queue, facts)
    except (JQueueError, OSError) as error:
        facts.problem = " ".join(str(error).split())
    return facts


def _read(queue: OfflineQueue, facts: Facts) -> None:
    facts.owned, facts.lsn = queue.owned, queue.lsn
    values = queue.found.values
    facts.serial = values.get("serial") or 0
    facts.drain, facts.pause = values.get("drain"), values.get("pause")
    survey = facts.survey
    for part in worked(queue, seek_all(queue), _survey_chunk):
        survey.merge(part)
    survey.spans.settle(attempts_of(queue, {found["id"] for found in survey.spans.repeated}))
    facts.failed = list(_documents(queue, [job for _, job in sorted(survey.failed, reverse=True)]))
    facts.begun = list(_documents(queue, survey.begun))


def _survey_chunk(reads: Iterator[Read]) -> list[Survey]:
    survey = Survey()
    for read in reads:
        survey.add(read)
    return [survey]


def _documents(queue: OfflineQueue, jobs: list[int]) -> Iterator[Document]:
    for number in jobs:
        job = queue.job(number)
        if job is not None:
            yield job.document


def last_records(disk: QuietDisk) -> list[Record]:
    """Return the last whole records of the journal, the last one last."""
    records: list[Record] = []
    for number in reversed(segment_numbers(disk) if disk.is_dir(JOURNAL) else []):
        before = records[0].lsn if records else None
        # The newer segment may begin with copies of records of the older one.
        older = [one for one in records_in(disk, number) if before is None or one.lsn < before]
        missing = MAX_RECORDS - len(records)
        records = [_record(found.value) for found in older[-missing:]] + records
        if len(records) >= MAX_RECORDS:
            break
    return records


def _record(value: dict[str, Any]) -> Record:
    return Record(value["lsn"], value.get("time") or 0.0, [_told(one) for one in said(value)])


def _told(one: Said) -> str:
    if one.about in NOT_CHANGES:
        return one.text
    told = one.about
    told += "" if one.job is None else f" job {one.job}"
    told += "" if one.op is None else f" opcode {one.op}"
    values = one.value.get("values")
    status = values.get("status") if isinstance(values, dict) else None
    return f"{told}: {status}" if isinstance(status, str) else told


def _environment(path: Path) -> Iterator[tuple[str, str]]:
    yield "jqueue", __version__
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "processors", str(len(os.sched_getaffinity(0)))
    for name in PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "not installed"
    yield (
        "the queue's place",
        filesystem_warning(path).message or "a file system that keeps its word",
    )
