"""Reading a queue directory from outside: no lock, no daemon, nothing changed.

Without an owner it shows what an opening would keep.  Beside a live owner it shows the state up to
the highest LSN that is claimed durable or stamped in a job file: what readers of the owner see.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from jqueue.errors import QueueCorrupt, QueueFailed
from jqueue.job.change import decode_change, touched_job
from jqueue.job.ids import parse_job_file_name
from jqueue.job.snapshot import Job
from jqueue.job.state import Key, Place, is_open
from jqueue.store import opening
from jqueue.store.disk import QuietDisk
from jqueue.store.lock import is_owned
from jqueue.store.packed import Packs
from jqueue.store.segment import JOURNAL, Journal, segment_numbers

ATTEMPTS: Final = 20
"""A live owner may retire segments while they are read; then reading starts over."""


class OfflineQueue:
    """The state of a queue directory at one moment; a `Snapshot`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the queue at `path`.

        Raises QueueFailed if there is no directory, QueueCorrupt or FormatTooNew as an opening.
        """
        self.path = Path(path)
        if not self.path.is_dir():
            raise QueueFailed(f"{self.path}: there is no queue", path=str(self.path))
        self.disk = QuietDisk(self.path)
        self.packs = Packs(self.disk)
        self.owned = is_owned(self.path)
        self.found = self._read()
        self.lsn = self.found.last_lsn

    def _read(self) -> opening.Found:
        for attempt in range(ATTEMPTS):
            before = self._segments()
            try:
                found = opening.find(self.disk, bound=self._bound if self.owned else None)
            except (FileNotFoundError, QueueCorrupt):
                if attempt + 1 == ATTEMPTS or self._segments() == before:
                    raise
                continue
            if self._segments() == before:
                return found
        raise QueueFailed(f"{self.path}: the queue changes too fast to be read from outside")

    def _segments(self) -> list[int]:
        return segment_numbers(self.disk) if self.disk.is_dir(JOURNAL) else []

    def _bound(self, journal: Journal) -> int:
        """Return the highest LSN that something says was durable."""
        bound = journal.claim
        for _, found in journal.records():
            if found.lsn <= bound:
                continue
            for value in found.value["changes"]:
                job = touched_job(decode_change(value))
                entry = opening.load(self.disk, job) if job is not None else None
                if entry is not None and entry.lsn >= found.lsn:
                    bound = max(bound, found.lsn)
        return min(bound, journal.last_lsn)

    @property
    def damaged(self) -> dict[int, str]:
        """Return the live jobs whose files a scan could not read, and why."""
        return self.found.damaged

    def find(self, key: Key) -> Any:
        """Return the value of `key`, or None; a job that has only a file is read from it."""
        value = self.found.values.get(key)
        if type(key) is int and (value is None or type(value) is bytes):
            return opening.load(self.disk, key, self.packs)
        return value

    def job(self, job: int) -> Job | None:
        """Return the job, live or archived; None if it is nowhere or can't be read."""
        entry = self.find(job)
        if entry is None or entry.document is None:
            return None
        return Job(entry.document, archived=entry.place is Place.ARCHIVE)

    def job_ids(self, *, archived: bool = False) -> list[int]:
        """Return the IDs of all live (and archived) jobs, ascending."""
        names = map(parse_job_file_name, self.disk.names())
        found: set[int] = {job for job in names if job is not None}
        if archived:
            found.update(opening.archived_ids(self.disk, self.packs))
        for key, value in self.found.values.items():
            if type(key) is int and key not in self.found.damaged:
                opening.list_job(found, key, value, archived=archived)
        return sorted(found)

    def open_ids(self) -> list[int]:
        """Return the IDs of all unfinished jobs, ascending."""
        return sorted(
            key
            for key, value in self.found.values.items()
            if type(key) is int and (type(value) is bytes or is_open(value))
        )

    def close(self) -> None:
        """Close the directory."""
        self.disk.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
