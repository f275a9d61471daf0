"""A queue's jobs as they were at one LSN, though its files have gone on since.

A job that no record after that moment touches is as its file says.  For the others the journal
tells: the first record that touches a job in a segment carries its whole document as it was before.
ARCHITECTURE.md ("A moment of a queue that goes on") has the argument.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from jqueue.errors import QueueCorrupt, QueueFailed
from jqueue.job.change import Document, Quarantined, Submitted, decode_change, touched_job
from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.job.state import Entry, Key, Place
from jqueue.store import jobfiles
from jqueue.store.disk import PADDING, Disk
from jqueue.store.following import Follower, Rewound, dropped
from jqueue.store.packed import Packs
from jqueue.store.record import decode_line, seed
from jqueue.store.replay import ABSOLUTE, Replayed, replay_record
from jqueue.store.segment import Found, read_segment, segment_numbers, segment_path

BATCH_JOBS: Final = 64
"""So many files are read before the journal is read on, once for all of them."""
TRIES: Final = 20


class Anchor(NamedTuple):
    """A moment, as another process can be told of it.

    `number` is the segment in which the record after LSN `lsn` stands, or will stand, 0 without a
    journal; `end_bytes` is where that will begin, if it is not there yet.
    """

    lsn: int
    number: int
    end_bytes: int | None = None


class _Before(NamedTuple):
    """Where the document stands that a job had before a record: in the record of this place."""

    number: int
    offset: int
    size: int


class _Archived:
    """The job stood in the archive, whose file may be gone by now: it was pruned since."""


_ARCHIVED: Final = _Archived()


class Moment:
    """The state at an LSN, told from what journal and files hold now.  Not thread-safe."""

    def __init__(self, disk: Disk, anchor: Anchor) -> None:
        self.disk = disk
        self.anchor = anchor
        self._number = max(anchor.number, 1)
        self._end_bytes = anchor.end_bytes
        self._begin()

    def _begin(self) -> None:
        self._follower = Follower(self.disk, self._number, born=self.anchor.number > 0)
        self._at = Replayed({}, {self._number: set()})
        """What the segment of the moment says through it."""
        self._later: dict[int, Entry | _Before | _Archived | None] = {}
        """Each job that a later record touches, as it was."""
        self._later_in: defaultdict[int, list[int]] = defaultdict(list)
        self._seeds: dict[int, int] = {}
        self._record: tuple[tuple[int, int], dict[int, Document]] = ((0, 0), {})
        self._pruned: dict[int, Document] | None = None

    def values(self) -> dict[Key, Any]:
        """Return serial, drain and pause at that moment."""
        self.advance()
        header = self._follower.header
        assert header is not None
        return {key: self._at.values.get(key) for key in ABSOLUTE}

    # What came after

    def advance(self) -> None:
        """Read the journal on to its end.

        Raises QueueFailed if what is needed of it was dropped, QueueCorrupt if it is damaged.
        """
        if self._is_last():
            return
        for _ in range(TRIES):
            try:
                for found in self._follower.read():
                    self._take(found)
            except Rewound:
                self._begin()
            else:
                return
        raise QueueFailed(f"{self.disk.path}: the queue changes too fast to be read from outside")

    def _is_last(self) -> bool:
        """Say whether nothing was appended yet since the moment."""
        if self._end_bytes is None:
            return False
        try:
            # A record's first byte is no space.
            behind = self.disk.read_range(segment_path(self._number), self._end_bytes, 1)
        except FileNotFoundError as error:
            raise dropped(self.disk, self._number) from error
        if behind.strip(PADDING) or self.disk.exists(segment_path(self._number + 1)):
            self._end_bytes = None
            return False
        return True

    def _take(self, found: Found) -> None:
        number = self._follower.number
        if number not in self._seeds:
            assert self._follower.header is not None
            self._seeds[number] = seed(self._follower.header.generation)
            if number == self._number:
                header = self._follower.header._asdict()
                self._at.values.update({key: header[key] for key in ABSOLUTE})
        try:
            if found.lsn > self.anchor.lsn:
                self._take_later(number, found)
            elif number == self._number:
                replay_record(self._at, number, found, None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            path = str(self.disk.path / segment_path(number))
            raise QueueCorrupt(
                f"{path}: the record of LSN {found.lsn} at offset {found.offset} makes no sense"
                f" ({error}); nothing was changed, look with: jqueue-archive verify",
                path=path,
                offset=found.offset,
                lsn=found.lsn,
            ) from error

    def _take_later(self, number: int, found: Found) -> None:
        base = {document["id"] for document in found.value.get("base", ())}
        for value in found.value["changes"]:
            change = decode_change(value)
            job = touched_job(change)
            if job is None or job in self._later:
                continue
            before: Entry | _Before | _Archived | None
            if job in self._at.held[self._number]:
                before = self._at.values.get(job)
            elif isinstance(change, Submitted):
                before = None
            elif job in base:
                before = _Before(number, found.offset, found.size)
            elif isinstance(change, Quarantined):
                before = jobfiles.QUARANTINED
            else:
                before = _ARCHIVED
            self._later[job] = before
            self._later_in[job // ARCHIVE_DIVISOR].append(job)

    def touched(self, job: int) -> bool:
        """Say whether a record after the moment, as far as it was read, touches the job."""
        return job in self._later

    def places(self, directory: int | None = None) -> Iterator[tuple[int, Place | None]]:
        """Yield the touched jobs (of one archive directory) and where they stood, None: nowhere."""
        chosen = self._later if directory is None else self._later_in.get(directory, ())
        for job in chosen:
            before = self._later[job]
            if isinstance(before, Entry):
                yield job, before.place
            elif before is None:
                yield job, None
            else:
                yield job, Place.LIVE if isinstance(before, _Before) else Place.ARCHIVE

    # What was before

    def settled(
        self, read: Iterable[tuple[int, Entry | None]], packs: Packs
    ) -> Iterator[tuple[int, Entry | None]]:
        """Yield jobs as they were, in the order in which `read` reads them as they are."""
        rest = iter(read)
        while batch := list(islice(rest, BATCH_JOBS)):
            # After the files: whatever they show has its record in the journal by now.
            self.advance()
            for job, entry in batch:
                yield job, self._entry(job, packs) if job in self._later else entry

    def _entry(self, job: int, packs: Packs) -> Entry | None:
        """Return a touched job as it was; its document is None if it was pruned since."""
        for _ in range(TRIES):
            before = self._later.get(job)
            if before is None or isinstance(before, Entry):
                return before
            if isinstance(before, _Archived):
                return self._archived(job, packs)
            document = self._document(job, before)
            if document is not None:
                return Entry(document, Place.LIVE, document.get("lsn", 0))
            # The record was cut off, and another stands in its place.
            self._begin()
            self.advance()
        raise QueueFailed(f"{self.disk.path}: the queue changes too fast to be read from outside")

    def _document(self, job: int, place: _Before) -> Document | None:
        at, documents = self._record
        if at != (place.number, place.offset):
            name = segment_path(place.number)
            try:
                line = self.disk.read_range(name, place.offset, place.size)
            except FileNotFoundError as error:
                raise dropped(self.disk, place.number) from error
            value = decode_line(line[:-1], self._seeds[place.number]) or {}
            documents = {document["id"]: document for document in value.get("base", ())}
            self._record = ((place.number, place.offset), documents)
        return documents.get(job)

    def _archived(self, job: int, packs: Packs) -> Entry:
        try:
            document = jobfiles.read_archived(self.disk, job, packs)
        except jobfiles.Damaged:
            return jobfiles.QUARANTINED
        if document is None:
            if self._pruned is None:
                self._pruned = self._look_back()
            document = self._pruned.get(job)
        return Entry(document, Place.ARCHIVE, 0 if document is None else document.get("lsn", 0))

    def _look_back(self) -> dict[int, Document]:
        """Return what older segments say of the jobs that were pruned since; once for all."""
        wanted = {job for job, before in self._later.items() if isinstance(before, _Archived)}
        kept: dict[int, Document] = {}
        for number in reversed(segment_numbers(self.disk)):
            if number >= self._number or not wanted:
                continue
            try:
                segment = read_segment(self.disk, number)
                said = Replayed({}, {number: set()})
                for found in segment.records:
                    replay_record(said, number, found, None)
            except (OSError, QueueCorrupt, ValueError, KeyError, TypeError, AttributeError):
                # Damaged or dropped: nothing older is asked, it might have been overruled there.
                break
            for job in wanted & said.held[number]:
                entry = said.values.get(job)
                if isinstance(entry, Entry) and entry.document is not None:
                    kept[job] = entry.document
                    wanted.discard(job)
        return kept
