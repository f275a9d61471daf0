"""Reading a journal on while it is written: record by record, from segment to segment.

What was appended may be cut off again as long as nothing claims it durable; then other records come
in its place, and whoever followed is told to begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from jqueue.errors import QueueCorrupt, QueueFailed
from jqueue.store.disk import PADDING, Disk
from jqueue.store.record import Header, seed
from jqueue.store.segment import Bad, Found, parse_header, segment_path, walk

MAX_HEADER_BYTES: Final = 1 << 18
"""A header holds the drain and pause flags, each of at most 64 KiB."""
_MARK_BYTES: Final = 64


class Rewound(Exception):
    """Records that nothing claimed durable are gone, and others may stand in their place."""


def dropped(disk: Disk, number: int) -> QueueFailed:
    """Return the error of a reader who was too slow: history is kept for a time only."""
    path = str(disk.path / segment_path(number))
    return QueueFailed(
        f"{path}: the segment was dropped while it was read; read the queue again", path=path
    )


class Follower:
    """The records of a journal from the beginning of one segment on, as they come.

    `number`, `header` and `claim` (the highest LSN claimed durable) are those of the place where
    the last record stood; `bad` is what stands behind it and is no record (yet), `beyond` whether
    whole records stand behind that.
    """

    def __init__(self, disk: Disk, number: int, *, born: bool = True) -> None:
        """Begin at segment `number`; the first one need not be `born` yet."""
        self.disk = disk
        self._born = born
        self.number = number
        self.header: Header | None = None
        self.claim = 0
        self.next_lsn = 0
        self.bad: Found | Bad | None = None
        self.beyond = False
        self._offset = 0
        self._seed = 0
        self._last = (0, b"")
        """Where the last line begins, and how."""

    def read(self) -> Iterator[Found]:
        """Yield what was appended since the last call.

        Raises Rewound, QueueFailed if a segment was dropped before it was read, QueueCorrupt if
        durable records are damaged or missing.
        """
        if not (self._born or self.disk.exists(segment_path(self.number))):
            return
        try:
            if self.header is None:
                self._enter(self.number)
            yield from self._lines()
            while self.disk.exists(segment_path(self.number + 1)):
                # Synced to its end before the next one was born: now all of it is there.
                yield from self._lines()
                self._enter(self.number + 1)
                yield from self._lines()
        except FileNotFoundError as error:
            raise dropped(self.disk, self.number) from error

    def _enter(self, number: int) -> None:
        name = segment_path(number)
        path = str(self.disk.path / name)
        header, offset = parse_header(self.disk.read_range(name, 0, MAX_HEADER_BYTES), number, path)
        before = self.header
        if before is not None and header.first_lsn > self.next_lsn and before.mode != "process":
            first = header.first_lsn
            raise self._corrupt(f"the next segment begins after LSN {first - 1}")
        self.number, self.header = number, header
        self.next_lsn = header.first_lsn
        self.claim = max(self.claim, header.durable, header.first_lsn - 1 if before else 0)
        self._offset = offset
        self._seed = seed(header.generation)
        self._last = (0, b"")

    def _corrupt(self, evidence: str) -> QueueCorrupt:
        path = str(self.disk.path / segment_path(self.number))
        return QueueCorrupt(
            f"{path}: the record of LSN {self.next_lsn} at offset {self._offset} is damaged or"
            f" missing, though {evidence}; nothing was changed, look with: jqueue-archive verify",
            path=path,
            offset=self._offset,
            lsn=self.next_lsn,
        )

    def _lines(self) -> Iterator[Found]:
        name = segment_path(self.number)
        at, mark = self._last
        if self.next_lsn > self.claim + 1 and self.disk.read_range(name, at, len(mark)) != mark:
            raise Rewound
        begin = self._offset
        data = self.disk.read_range(name, begin, self.disk.size(name) - begin).rstrip(PADDING)
        if not data:
            return
        self.bad, self.beyond = None, False
        size = begin + len(data)
        # A line without an end is being written.
        data = data[: data.rfind(b"\n") + 1]
        parts = walk(data, self._seed, at=begin)
        for part in parts:
            if not isinstance(part, Found) or part.lsn != self.next_lsn:
                self.bad = part
                found = [record for one in (part, *parts) for record in _records(one)]
                self.beyond = bool(found)
                claim = max((record.value.get("durable", 0) for record in found), default=0)
                # Read again: bytes from before a cut and from after it can look the same.
                if claim >= self.next_lsn and self.disk.read_range(name, begin, len(data)) == data:
                    raise self._corrupt(f"a later record says that LSN {claim} was durable")
                return
            self.next_lsn += 1
            self.claim = max(self.claim, part.value.get("durable", 0))
            self._offset = part.offset + part.size
            inside = part.offset - begin
            self._last = (part.offset, data[inside : min(inside + _MARK_BYTES, inside + part.size)])
            yield part
        if self._offset < size:
            self.bad = Bad(self._offset, size - self._offset, [])


def _records(part: Found | Bad) -> list[Found]:
    return [part] if isinstance(part, Found) else part.within
