"""Reading a queue directory from outside: no lock, no daemon, nothing changed.

Without an owner it shows what an opening would keep.  Beside a live owner it shows the state of one
moment, whatever is committed while it is read: the highest LSN that is claimed durable, stamped in
a job file, or proved by a removal found carried out.  A moment of the past can be shown too, as far
back as the kept journal reaches.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from jqueue.errors import QueueCorrupt, QueueFailed
from jqueue.job.change import Archived, Pruned, Quarantined, decode_change, touched_job
from jqueue.job.ids import ARCHIVE_DIVISOR, parse_job_file_name
from jqueue.job.snapshot import Job
from jqueue.job.state import Entry, Key, Place, is_open
from jqueue.store import jobfiles, opening
from jqueue.store.disk import Disk
from jqueue.store.index import has_begun
from jqueue.store.lock import is_owned
from jqueue.store.moment import Anchor, Moment
from jqueue.store.packed import Packs
from jqueue.store.past import Reach, find_moment, reach
from jqueue.store.realdisk import QuietDisk
from jqueue.store.segment import Journal

ATTEMPTS: Final = 20
"""A live owner may retire segments while they are read; then reading starts over."""
STAMPED_JOBS: Final = 16
"""A transaction of more jobs has no file before the watermark names it: none is looked for."""


class Listed(NamedTuple):
    """The jobs of one archive directory: those live, and those that had a file in it just now."""

    jobs: list[int]
    live: set[int]
    loose: set[int]


class OfflineQueue:
    """The state of a queue directory at one moment; a `Snapshot`.

    `lsn` is that moment, `reach` how far back the journal goes (None without one).  Not
    thread-safe.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        at: int | datetime | None = None,
        disk: Disk | None = None,
        owned: bool | None = None,
    ) -> None:
        """Read the queue at `path`, as it is or was `at` an LSN or a time.

        `disk` and `owned` stand for what is found there.  Raises QueueFailed if there is no
        directory, OutOfReach if the journal doesn't go back as far, QueueCorrupt or FormatTooNew
        as an opening.
        """
        self.path = Path(path)
        if disk is None and not self.path.is_dir():
            raise QueueFailed(f"{self.path}: there is no queue", path=str(self.path))
        self.disk = disk or QuietDisk(self.path)
        try:
            self.packs = Packs(self.disk)
            self.owned = is_owned(self.path) if owned is None else owned
            self.found = self._read()
            self._is_past = at is not None
            self.lsn = self.found.last_lsn
            if at is not None:
                self._go_back(at)
        except BaseException:
            self.disk.close()
            raise

    # The moment

    def _read(self) -> opening.Found:
        said = ""
        use_index = True
        for _ in range(ATTEMPTS):
            try:
                return self._read_once(use_index=use_index)
            except (FileNotFoundError, QueueCorrupt, opening.MovedOn) as error:
                # What a live owner is just changing looks different the next time.
                if str(error) == said:
                    if not isinstance(error, opening.MovedOn):
                        raise
                    use_index = False  # of a journal whose end a power cut took, in process mode
                said = str(error)
        raise QueueFailed(f"{self.path}: the queue changes too fast to be read from outside")

    def _read_once(self, *, use_index: bool) -> opening.Found:
        bound = self._bound if self.owned else None
        self.found = opening.find(self.disk, bound=bound, use_index=use_index)
        journal, lsn = self.found.journal, self.found.last_lsn
        if journal is None:
            self.moment = Moment(self.disk, Anchor(0, 0))
            return self.found
        newest = journal.newest
        whole = newest.bad_offset is None and lsn >= journal.last_lsn
        anchor = Anchor(lsn, newest.number, newest.size if whole else None)
        self.moment = Moment(self.disk, anchor)
        if self.owned and self.found.index is None:
            opening.rebuild(self.disk, self.found, self._scanned(), self._find_job)
        return self.found

    def _scanned(self) -> Iterator[tuple[int, Entry]]:
        """Yield the live jobs of the moment that only files tell of."""
        values = self.found.values
        for job, entry in self.entries([job for job in self.job_ids() if job not in values]):
            if entry is not None and entry.place in (Place.LIVE, Place.QUARANTINE):
                yield job, entry

    def _bound(self, journal: Journal, indexed: int) -> int:
        """Return the highest LSN that something says was durable."""
        if journal.newest.header.mode == "process":
            return journal.last_lsn  # written is durable
        bound = max(journal.claim, indexed)
        for found in reversed(journal.newest.records):
            if found.lsn <= bound:
                break
            if self._is_carried_out(journal, found.lsn, found.value["changes"]):
                return int(found.lsn)
        return int(min(bound, journal.last_lsn))

    def _is_carried_out(self, journal: Journal, lsn: int, changes: list[Any]) -> bool:
        """Say whether a file shows what the record of LSN `lsn` says."""
        for change in map(decode_change, changes[:STAMPED_JOBS]):
            job = touched_job(change)
            if job is None:
                continue
            entry = jobfiles.load(self.disk, job, self.packs)
            if entry is not None and entry.document is not None and entry.lsn >= lsn:
                return True
            if isinstance(change, Archived) and entry is not None and entry.place is Place.ARCHIVE:
                return True
            # A file that is not there is no proof where the journal has yet to make one.
            removed = entry is None and isinstance(change, Pruned | Quarantined)
            if removed and not _is_mentioned(journal, job, before=lsn):
                return True
        return False

    @property
    def reach(self) -> Reach | None:
        """Return how far back the kept journal goes; None without one."""
        return reach(self.disk)

    def _go_back(self, at: int | datetime) -> None:
        lsn, number = find_moment(self.disk, at, last_lsn=self.lsn)
        if lsn >= self.lsn:
            return
        self.lsn = self.found.last_lsn = lsn
        self.moment = Moment(self.disk, Anchor(lsn, number))
        # What else is derived from jobs is known of the present only.
        for key in [key for key in self.found.values if type(key) is not int]:
            del self.found.values[key]
        self.found.values.update(self.moment.values())

    # Reading

    @property
    def damaged(self) -> dict[int, str]:
        """Return the live jobs whose files a scan could not read, and why."""
        return self.found.damaged

    def find(self, key: Key) -> Any:
        """Return the value of `key`, or None; a job that has only a file is read from it.

        Of the past only jobs, serial, drain and pause are known.
        """
        return self._find_job(key) if type(key) is int else self.found.values.get(key)

    def _find_job(self, job: int) -> Entry | None:
        return next(self.entries([job]))[1]

    def entries(self, jobs: Iterable[int]) -> Iterator[tuple[int, Entry | None]]:
        """Yield these jobs as they were at the moment, in their order; None: nowhere.

        An archived job that was pruned since, and whose document no kept segment holds, has none.
        """
        read = ((job, self.known(job) or jobfiles.load(self.disk, job, self.packs)) for job in jobs)
        return self.moment.settled(read, self.packs)

    def known(self, job: int) -> Entry | None:
        """Return what the journal says of a job; None leaves it to its file."""
        value = self.found.values.get(job)
        return value if isinstance(value, Entry) else None

    def job(self, job: int) -> Job | None:
        """Return the job, live or archived; None if it is nowhere or can't be read."""
        entry = self._find_job(job)
        if entry is None or entry.document is None:
            return None
        return Job(entry.document, archived=entry.place is Place.ARCHIVE)

    def job_ids(self, *, archived: bool = False) -> list[int]:
        """Return the IDs of all live (and archived) jobs, ascending."""
        if archived:
            return [job for listed in self.by_directory() for job in listed.jobs]
        names = map(parse_job_file_name, self.disk.names())
        found: set[int] = {job for job in names if job is not None}
        self._adjust(found, self._known_jobs(), None, archived=False)
        return sorted(found)

    def by_directory(self) -> Iterator[Listed]:
        """Yield all live and archived jobs by the archive directory they belong to, ascending."""
        live = self.job_ids()
        known = self._known_jobs()
        listed = set(jobfiles.archive_numbers(self.disk))
        self.moment.advance()
        later = [job for job, _ in self.moment.places()]
        directories = {job // ARCHIVE_DIVISOR for job in (*live, *known, *later)}
        for number in sorted(listed | directories):
            here = set(_within(live, number))
            loose, found = set[int](), set(here)
            if number in listed:
                loose, packed = jobfiles.loose_and_packed(self.disk, number, self.packs)
                found = found.union(loose, packed)
            self._adjust(found, _within(known, number), number, archived=True)
            yield Listed(sorted(found), here, loose)

    def _known_jobs(self) -> list[int]:
        values, damaged = self.found.values, self.found.damaged
        return sorted(key for key in values if type(key) is int and key not in damaged)

    def _adjust(
        self, found: set[int], known: Iterable[int], directory: int | None, *, archived: bool
    ) -> None:
        """Put the jobs into `found` that were there at the moment, and take the others out."""
        for job in known:
            opening.list_job(found, job, self.found.values[job], archived=archived)
        self.moment.advance()
        for job, place in self.moment.places(directory):
            if place is Place.LIVE or (archived and place is Place.ARCHIVE):
                found.add(job)
            else:
                found.discard(job)

    def unfinished(self) -> Iterator[int]:
        """Yield the IDs of all unfinished jobs, ascending, judging each when it is its turn."""
        return iter(self.open_ids())

    def open_ids(self) -> list[int]:
        """Return the IDs of all unfinished jobs, ascending."""
        if self._is_past:
            return [job for job, entry in self.entries(self.job_ids()) if is_open(entry)]
        return sorted(
            key
            for key, value in self.found.values.items()
            if type(key) is int and (type(value) is bytes or is_open(value))
        )

    def begun_ids(self) -> list[int]:
        """Return the IDs of the unfinished jobs that are not queued, ascending."""
        if self._is_past:
            return [job for job, entry in self.entries(self.job_ids()) if has_begun(entry)]
        jobs = ((key, value) for key, value in self.found.values.items() if type(key) is int)
        return sorted(key for key, value in jobs if has_begun(value))

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


def _is_mentioned(journal: Journal, job: int, *, before: int) -> bool:
    """Say whether an unretired record before that LSN is about the job."""
    return any(
        touched_job(decode_change(value)) == job
        for segment in journal.segments
        for found in segment.records
        if found.lsn < before
        for value in found.value["changes"]
    )


def _within(jobs: list[int], number: int) -> list[int]:
    """Return those of the ascending `jobs` that belong into archive directory `number`."""
    first = number * ARCHIVE_DIVISOR
    return jobs[bisect_left(jobs, first) : bisect_left(jobs, first + ARCHIVE_DIVISOR)]
