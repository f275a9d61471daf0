"""Reading segments: which records are whole, where the first bad one is, torn or corrupt.

The decision table (DESIGN section 4): a bad record is *corrupt* if anything says that it was
durable: a later valid record's claim, the next segment's first LSN, the watermark, a clean-close
record.  Otherwise it is *torn*: the end of the journal, and nothing that was acknowledged is lost.
One decoder serves opening, offline reading and inspection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from jqueue.errors import FormatTooNew, QueueCorrupt
from jqueue.store.disk import PADDING, Disk, FileTooLarge, NotRegular
from jqueue.store.record import (
    FORMAT,
    MAX_RECORD_BYTES,
    Header,
    decode_header,
    decode_line,
    decode_within,
    seed,
)

JOURNAL: Final = "journal"
WATERMARK: Final = "journal/watermark"
MAX_SEGMENT_BYTES: Final = 1 << 30
"""No segment grows larger: one is closed long before, and one record at most is added to it."""

READ_AGAIN: Final = 10
"""So often at most a segment is read that has a bad record and changes while it is read."""

_SEGMENT_NAME: Final = re.compile(r"[0-9]{8,18}", re.ASCII)


class Found(NamedTuple):
    """A whole record: where it begins, what it says, its bytes with the line's end."""

    offset: int
    lsn: int
    value: dict[str, Any]
    size: int


class Bad(NamedTuple):
    """A line that is no record, and the whole records that stand inside it.

    A damaged line end hides neither them nor their claims: else one flipped bit before the last
    record would make a durable record look torn.
    """

    offset: int
    size: int
    within: list[Found]


@dataclass(slots=True)
class Segment:
    """One segment as its bytes say.

    `bad_offset` is where the first line that is not a record begins.
    """

    number: int
    path: str
    header: Header
    records: list[Found]
    size: int
    bad_offset: int | None = None
    claim: int = 0
    """The highest LSN that any valid record claims durable, those behind the bad one included."""
    later: list[Found] = field(default_factory=list)
    """Valid records behind the first bad one."""

    @property
    def next_lsn(self) -> int:
        """Return the LSN that the next record of this segment should have."""
        return self.records[-1].lsn + 1 if self.records else self.header.first_lsn

    @property
    def reflects(self) -> int:
        """Return the highest LSN through which job files are said to be complete and synced."""
        said = (found.value.get("reflects", 0) for found in self.records)
        return max(self.header.reflects, max(said, default=0))

    @property
    def indexed(self) -> int:
        """Return the LSN of the index written before files were last said to reflect all."""
        for found in reversed(self.records):
            if "reflects" in found.value:
                return int(found.value.get("indexed", 0))
        return self.header.indexed

    @property
    def closed(self) -> bool:
        """Say whether the last record is a clean close."""
        return bool(self.records) and self.records[-1].value.get("mark") == "closed"


def segment_path(number: int) -> str:
    """Return the path of segment `number`."""
    return f"{JOURNAL}/{number:08d}"


def segment_numbers(disk: Disk) -> list[int]:
    """Return the numbers of the segments there are, ascending; other names are left alone."""
    return sorted(
        int(name)
        for name in disk.names(JOURNAL)
        if _SEGMENT_NAME.fullmatch(name) and f"{int(name):08d}" == name
    )


def read_segment(disk: Disk, number: int) -> Segment:
    """Read one segment.

    Raises QueueCorrupt for a bad header (a segment is born whole, so this is never a torn write),
    FormatTooNew for one that a newer version wrote.
    """
    path = segment_path(number)
    found: list[Segment] = []

    def is_whole(data: bytes) -> bool:
        found.append(parse_segment(data, number, str(disk.path / path)))
        return found[-1].bad_offset is None

    read_stable(disk, path, is_whole)
    return found[-1]


def read_stable(disk: Disk, path: str, is_whole: Callable[[bytes], bool]) -> bytes:
    """Return the bytes of a segment, read again while they are not whole and change.

    Of a record that is written meanwhile a part may be seen, even without its beginning.
    """
    data = disk.read(path, MAX_SEGMENT_BYTES)
    for _ in range(READ_AGAIN):
        if is_whole(data):
            break
        before, data = data, disk.read(path, MAX_SEGMENT_BYTES)
        if data == before:
            break
    return data


def parse_segment(data: bytes, number: int, path: str) -> Segment:
    """Return what the bytes of a segment say; raises as `read_segment`."""
    header, offset = parse_header(data, number, path)
    size = len(data.rstrip(PADDING))
    segment = Segment(number, path, header, [], size, claim=header.durable)
    expected = header.first_lsn
    for part in walk(data, seed(header.generation), begin=offset):
        whole = [part] if isinstance(part, Found) else part.within
        for found in whole:
            segment.claim = max(segment.claim, found.value.get("durable", 0))
        if segment.bad_offset is None and isinstance(part, Found) and part.lsn == expected:
            segment.records.append(part)
            expected += 1
        else:
            if segment.bad_offset is None:
                segment.bad_offset = part.offset
            segment.later += whole
    return segment


def parse_header(data: bytes, number: int, path: str) -> tuple[Header, int]:
    """Return the header of a segment and where its first record begins; raises as `read_segment`.

    `data` is its beginning.
    """
    end = data.find(b"\n")
    header = decode_header(data[:end]) if end >= 0 else None
    if header is None or header.segment != number:
        raise QueueCorrupt(
            f"{path}: the segment's header is damaged; nothing was changed,"
            " look with: jqueue-archive verify,"
            " mend with: jqueue-archive repair",
            path=path,
            offset=0,
        )
    if header.format > FORMAT:
        raise FormatTooNew(
            f"{path}: journal format {header.format}, this version reads up to {FORMAT};"
            " nothing was changed, install the newer version",
            path=path,
            found=header.format,
            supported=FORMAT,
        )
    return header, end + 1


def walk(data: bytes, start: int, *, begin: int = 0, at: int = 0) -> Iterator[Found | Bad]:
    """Yield each line of `data` from `begin` on: as a record, whatever its LSN, or as none.

    `data` begins at byte `at` of its segment, whose generation has the checksum `start`.  The space
    ahead of a segment's end is no line.
    """
    stop = len(data.rstrip(PADDING))
    while begin < stop:
        end = data.find(b"\n", begin)
        after = end + 1 if end >= 0 else stop
        whole = end >= 0 and end - begin <= MAX_RECORD_BYTES + 16
        value = decode_line(data[begin:end], start) if whole else None
        lsn = value.get("lsn") if value is not None else None
        if value is not None and isinstance(lsn, int):
            yield Found(at + begin, lsn, value, after - begin)
        else:
            line = data[begin : end if end >= 0 else stop]
            within = [
                Found(at + begin + inside, found["lsn"], found, 0)
                for inside, found in decode_within(line, start)
            ]
            yield Bad(at + begin, after - begin, within)
        begin = after


@dataclass(slots=True)
class Journal:
    """The journal as an opening sees it.

    The unretired segments, oldest first, and what they keep.
    """

    segments: list[Segment]
    reflects: int
    watermark: int
    torn: str | None
    """What was ignored at the end, in words, or None."""

    @property
    def newest(self) -> Segment:
        """Return the segment that was written last."""
        return self.segments[-1]

    @property
    def last_lsn(self) -> int:
        """Return the LSN of the last record that is kept."""
        return self.newest.next_lsn - 1

    @property
    def claim(self) -> int:
        """Return the highest LSN that is known to have been durable."""
        newest = self.newest
        return max(
            newest.claim,
            newest.header.first_lsn - 1 if len(self.segments) > 1 else 0,
            self.watermark,
        )

    @property
    def caught_up(self) -> bool:
        """Say whether job files reflect every record there is.

        So that nothing is to be replayed.
        """
        return self.reflects >= self.last_lsn

    @property
    def last_said(self) -> dict[str, Any]:
        """Return the last record that says what files reflect.

        With it stand serial, drain and pause.
        """
        for found in reversed(self.newest.records):
            if "reflects" in found.value:
                value: dict[str, Any] = found.value
                return value
        return self.newest.header._asdict()

    def records(self) -> list[tuple[Segment, Found]]:
        """Return all records to replay, in LSN order."""
        if self.caught_up:
            return []
        kept: list[tuple[Segment, Found]] = []
        for index, segment in enumerate(self.segments):
            last = index + 1 == len(self.segments)
            end = segment.next_lsn if last else self.segments[index + 1].header.first_lsn
            kept.extend((segment, found) for found in segment.records if found.lsn < end)
        return kept


def read_journal(disk: Disk) -> Journal:
    """Read every segment that job files do not yet reflect in full.

    Raises QueueCorrupt, with file, offset and LSN, for damage to anything that was durable; then
    nothing was changed and nothing is skipped.
    """
    numbers = segment_numbers(disk)
    if not numbers:
        path = str(disk.path / JOURNAL)
        raise QueueCorrupt(
            f"{path}: no segment is there, and a journal always has one; nothing was changed,"
            " look with: jqueue-archive verify,"
            " mend with: jqueue-archive repair",
            path=path,
        )
    # Before the segments: a reader beside an owner must not hold a later claim against them.
    watermark = read_watermark(disk)
    newest = read_segment(disk, numbers[-1])
    reflects = newest.reflects
    segments = [newest]
    while segments[0].header.first_lsn > reflects + 1:
        segments.insert(0, _older(disk, segments[0], set(numbers)))
    journal = Journal(segments, reflects, watermark, None)
    journal.torn = _judge_tail(journal)
    return journal


def _older(disk: Disk, after: Segment, numbers: set[int]) -> Segment:
    """Read the segment before `after`, all of which must be whole up to where `after` begins."""
    number = after.number - 1
    path = str(disk.path / segment_path(number))
    first = after.header.first_lsn
    if number not in numbers:
        raise QueueCorrupt(
            f"{path}: the segment is missing, it held records before LSN {first} that no job file"
            " reflects; nothing was changed, look with: jqueue-archive verify,"
            " mend with: jqueue-archive repair",
            path=path,
            lsn=first - 1,
        )
    segment = read_segment(disk, number)
    # In process mode a power cut may take the journal's end, and new LSNs start above the files'.
    if segment.next_lsn < first and segment.header.mode != "process":
        raise _corrupt(segment, f"the next segment begins after LSN {first - 1}")
    return segment


def _judge_tail(journal: Journal) -> str | None:
    newest = journal.newest
    expected = newest.next_lsn
    if newest.header.mode != "process":
        if newest.claim >= expected:
            raise _corrupt(newest, f"a later record says that LSN {newest.claim} was durable")
        if journal.watermark >= expected:
            raise _corrupt(newest, f"job files reflect LSN {journal.watermark}")
        if newest.bad_offset is not None and newest.closed:
            raise _corrupt(newest, "it stands behind a clean close")
    if newest.bad_offset is None:
        return None
    return (
        f"{newest.path}: torn tail at offset {newest.bad_offset} ignored:"
        f" {newest.size - newest.bad_offset} bytes from LSN {expected} on, never acknowledged"
    )


def _corrupt(segment: Segment, evidence: str) -> QueueCorrupt:
    lsn = segment.next_lsn
    offset = segment.bad_offset if segment.bad_offset is not None else segment.size
    return QueueCorrupt(
        f"{segment.path}: the record of LSN {lsn} at offset {offset} is damaged or missing, though"
        f" {evidence}; nothing was changed, look with: jqueue-archive verify,"
        " mend with: jqueue-archive repair",
        path=segment.path,
        offset=offset,
        lsn=lsn,
    )


def read_watermark(disk: Disk) -> int:
    """Return the highest LSN that a job file was known to reflect.

    0 if the small file says nothing.
    """
    try:
        line = disk.read(WATERMARK, 4096)
    except (FileNotFoundError, NotRegular, FileTooLarge):
        return 0
    # The checkpointer pads it to its fixed width.
    value = decode_line(line.rstrip(), 0)
    lsn = value.get("lsn") if value is not None else None
    return lsn if isinstance(lsn, int) else 0
