"""Writing the journal: the `Log` of the directory engine.

What a segment is known to hold (`held`) grows when a record is encoded, so it belongs to *next* and
falls back with it.  A job's first change in a segment carries its whole document before the change,
in `base`; so no replay ever rests on a job file.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jqueue.errors import DiskFull
from jqueue.job.change import touched_jobs
from jqueue.job.state import Layer, Place
from jqueue.store.bound import Growth
from jqueue.store.disk import AppendFile, Disk, temp_path
from jqueue.store.ledger import Record
from jqueue.store.protocol import Transaction
from jqueue.store.record import FORMAT, Header, encode_header, encode_line, seed
from jqueue.store.segment import JOURNAL, segment_path

SEGMENT_BYTES: Final = 8 << 20
"""A segment is followed by another when it has grown beyond this."""
RESERVE: Final = "journal/reserve"
RESERVE_BYTES: Final = 8 << 20


class NotBorn(OSError):
    """A new segment could not be made; its name was never there."""


class Encoded:
    """A record as bytes, and the jobs that the segment holds because of it."""

    __slots__ = ("held", "line")

    def __init__(self, line: bytes, held: list[int]) -> None:
        self.line = line
        self.held = held

    def __len__(self) -> int:
        return len(self.line)


@dataclass(slots=True)
class ClosedSegment:
    """A segment that is no longer written: it waits for the files of the jobs it mentions."""

    number: int
    last_lsn: int
    size_bytes: int
    held: set[int]


class Journal:
    """The current segment, those before it, and the reserve for a full disk."""

    def __init__(
        self,
        disk: Disk,
        *,
        mode: str,
        on_durable: Callable[[list[Record]], None],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.disk = disk
        self.mode = mode
        self.closed: list[ClosedSegment] = []
        self.reflects = 0
        self.indexed = 0
        self.reserve_spent = False
        self.reserve_bytes = RESERVE_BYTES
        self.segment_bytes = self._limit = segment_bytes
        self._on_durable = on_durable
        self._held: set[int] = set()
        self._growth = Growth()
        self._number = 0
        self._seed = 0
        self._file: AppendFile | None = None
        self._unsynced = False
        self.syncs = 0

    # Segments

    @property
    def number(self) -> int:
        """Return the number of the current segment."""
        return self._number

    @property
    def size_bytes(self) -> int:
        """Return the size of the current segment."""
        return self._file.size if self._file is not None else 0

    @property
    def unretired_bytes(self) -> int:
        """Return how much journal waits for job files, the current segment included."""
        return self.size_bytes + sum(segment.size_bytes for segment in self.closed)

    def begin_segment(
        self,
        number: int,
        last_lsn: int,
        values: dict[Any, Any],
        copies: Sequence[tuple[dict[str, Any], set[int]]] = (),
    ) -> None:
        """Make segment `number` the current one, born whole and durable.

        `last_lsn` is the last one before or in it; `copies` are records carried over from a found
        segment, each with the jobs it mentions; `values` the serial, drain and pause before them.
        """
        header = Header(
            format=FORMAT,
            generation=os.urandom(8).hex(),
            segment=number,
            first_lsn=copies[0][0]["lsn"] if copies else last_lsn + 1,
            mode=self.mode,
            durable=0 if self.mode == "process" else last_lsn,
            reflects=self.reflects,
            indexed=self.indexed,
            serial=values.get("serial") or 0,
            drain=values.get("drain"),
            pause=values.get("pause"),
        )
        start = seed(header.generation)
        held: set[int] = set()
        lines = [encode_header(header)]
        for value, jobs in copies:
            lines.append(encode_line(value, start))
            held |= jobs
        path = segment_path(number)
        temp = temp_path(path)
        try:
            self.disk.create(temp, b"".join(lines))
            self.disk.sync_file(temp)
        except OSError as error:
            with contextlib.suppress(OSError):
                self.disk.unlink(temp)
            raise NotBorn(*error.args) from error
        self.disk.rename_new(temp, path)
        self.disk.sync_dir(JOURNAL)
        opened = self.disk.append(path, ahead=self.mode != "process")
        self.close()
        self._file = opened
        self._number = number
        self._seed = start
        self._held = held
        self._growth = Growth()
        self._unsynced = False

    @property
    def full(self) -> bool:
        """Say whether the current segment should be followed by another."""
        return self.size_bytes >= self._limit

    def rotate(self, last_lsn: int, values: dict[Any, Any]) -> None:
        """Close the current segment, synced to its end, and begin the next.

        The caller holds the ledger's mutex and its lead.  Without space for the next segment this
        one goes on; any other OSError is the caller's to stop for, since it may be there already.
        """
        assert self._file is not None
        if self._unsynced:
            self.sync()
        before = ClosedSegment(self._number, last_lsn, self._file.size, self._held)
        try:
            self.begin_segment(self._number + 1, last_lsn, values)
        except NotBorn:
            self._limit = self._file.size + self.segment_bytes // 8
            return
        self._limit = self.segment_bytes
        self.closed.append(before)

    # The ledger's Log

    def encode(self, lsn: int, durable: int, layer: Layer, transaction: Transaction) -> Encoded:
        """Return the record's line.

        Documents before the change included where the segment lacks them.
        """
        if self.reserve_spent and not transaction.essential:
            raise DiskFull(
                f"{self.disk.path}: the disk is full; nothing was changed", path=str(self.disk.path)
            )
        held = self._held
        jobs = touched_jobs(transaction.changes)
        newly = [job for job in jobs if job not in held]
        known = [job for job in jobs if job in held]
        held.update(newly)
        base = []
        for job in newly:
            before = layer.before[job]
            if before is not None and before.place is Place.LIVE:
                base.append(before.document)
        value: dict[str, Any] = {
            "lsn": lsn,
            "durable": 0 if self.mode == "process" else durable,
            "tx": transaction.id,
            "time": time.time(),
            "changes": transaction.changes,
        }
        if base:
            value["base"] = base
        if transaction.note is not None:
            value.update(transaction.note)
        try:
            line = encode_line(value, self._seed)
            self._growth.check(layer, transaction, len(line), known, newly)
        except BaseException:
            held.difference_update(newly)
            raise
        return Encoded(line, newly)

    def forget(self, encoded: Encoded) -> None:
        """The record falls back: the segment does not hold what it would have brought."""
        self._held.difference_update(encoded.held)

    def write(self, records: list[Encoded]) -> None:
        """Append the lines with one write."""
        assert self._file is not None
        lines = [record.line for record in records]
        self._file.write(lines[0] if len(lines) == 1 else b"".join(lines))
        self._unsynced = True

    def sync(self) -> None:
        """Make them durable; in `process` mode written is enough."""
        assert self._file is not None
        if self.mode != "process":
            self._file.sync()
        self.syncs += 1
        self._unsynced = False

    def cut(self) -> None:
        """Remove what a failed write left behind."""
        assert self._file is not None
        self._file.cut()

    def relieve(self) -> bool:
        """Give the reserve back to the file system, for essential records and the checkpoint."""
        if self.reserve_spent or not self.disk.exists(RESERVE):
            return False
        self.disk.unlink(RESERVE)
        self.reserve_spent = True
        return True

    def restock(self) -> bool:
        """Preallocate the reserve again; say whether there was space for it."""
        try:
            held = self.disk.size(RESERVE) if self.disk.exists(RESERVE) else 0
            if held > self.reserve_bytes:
                self.disk.unlink(RESERVE)
                held = 0
            if held < self.reserve_bytes:
                self.disk.allocate(RESERVE, self.reserve_bytes)
        except OSError:
            return False
        self.reserve_spent = False
        return True

    def finished(self, batch: list[Record]) -> None:
        """Learn what is durable now: a segment begun next must know what files reflect."""
        for record in batch:
            note = record.transaction.note if record.transaction is not None else None
            if note is not None:
                self.reflects = max(self.reflects, note.get("reflects", 0))
                self.indexed = max(self.indexed, note.get("indexed", 0))
        self._on_durable(batch)

    def close(self) -> None:
        """Close the current segment's file; the space ahead is not needed any more."""
        if self._file is not None:
            self._file.trim()
            self._file.close()
            self._file = None
