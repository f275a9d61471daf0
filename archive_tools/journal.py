"""The kept journal as it stands, line by line: records, and what is none.  Nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from jqueue.console.secrets import summaries_of
from jqueue.console.times import local
from jqueue.errors import JQueueError, QueueCorrupt, QueueFailed
from jqueue.job import jsonio
from jqueue.store.disk import Disk
from jqueue.store.record import Header, seed
from jqueue.store.segment import (
    JOURNAL,
    MAX_SEGMENT_BYTES,
    Bad,
    Found,
    parse_header,
    read_stable,
    segment_numbers,
    segment_path,
    walk,
)

NOT_CHANGES: Final = ("segment", "damaged", "reflects", "mark")
"""What a line can be about beside the kinds of changes."""
MAX_TEXT_CHARS: Final = 200


class Damage(NamedTuple):
    """Bytes that are no record, or records that are missing."""

    text: str
    offset: int | None
    size: int


class Part(NamedTuple):
    """A piece of segment `number`: its header, a record, or damage."""

    number: int
    what: Header | Found | Damage


def parts(disk: Disk, *, owned: bool) -> Iterator[Part]:
    """Yield all that the segments hold, in their order; beside an owner, what is durable of it.

    A record that a later segment took over comes again.  Raises QueueFailed if there is no journal,
    FormatTooNew if a newer version wrote it.
    """
    numbers = segment_numbers(disk) if disk.is_dir(JOURNAL) else []
    if not numbers:
        raise QueueFailed(
            f"{disk.path}: there is no journal: jqueue never opened this directory, or it is lost",
            path=str(disk.path),
        )
    expected: int | None = None
    for number in numbers:
        is_newest = number == numbers[-1]
        segment = _Segment(disk, number, expected, is_newest=is_newest)
        if owned and is_newest:
            yield from _durable(list(segment.parts()))
        else:
            yield from segment.parts()
        expected = segment.expected


def records_in(disk: Disk, number: int) -> list[Found]:
    """Return the whole records of segment `number`, ascending, whatever damage is among them.

    None of one that was dropped, or whose header is damaged or too new.
    """
    try:
        is_newest = number == max(segment_numbers(disk), default=number)
        segment = _Segment(disk, number, None, is_newest=is_newest)
        found = [part.what for part in segment.parts()]
    except (JQueueError, OSError):
        return []
    return [what for what in found if isinstance(what, Found)]


def _durable(found: list[Part]) -> list[Part]:
    """Leave out the end that is being written: nothing claims it durable, or it is no record."""
    header = found[0].what
    if not isinstance(header, Header):
        return found
    records = [part.what for part in found if isinstance(part.what, Found)]
    claim = max([header.durable, *(record.value.get("durable", 0) for record in records)])
    if header.mode == "process":  # written is durable
        claim = max((record.lsn for record in records), default=0)
    ends = [
        at
        for at, part in enumerate(found)
        if isinstance(part.what, Found) and part.what.lsn <= claim
    ]
    return found[: max(ends, default=0) + 1]


class _Segment:
    def __init__(self, disk: Disk, number: int, expected: int | None, *, is_newest: bool) -> None:
        self.number = number
        self.expected = expected
        """The LSN that comes next; None where that is not known."""
        name = segment_path(number)
        self._path = str(disk.path / name)
        try:
            if is_newest:
                # Only there a record may come while it is read.
                self._data = read_stable(disk, name, self._is_whole)
            else:
                self._data = disk.read(name, MAX_SEGMENT_BYTES)
        except FileNotFoundError as error:
            raise QueueFailed(f"{self._path}: the segment was dropped; read it again") from error

    def _is_whole(self, data: bytes) -> bool:
        try:
            header, begin = parse_header(data, self.number, self._path)
        except QueueCorrupt:
            return False
        lines = walk(data, seed(header.generation), begin=begin)
        return all(isinstance(part, Found) for part in lines)

    def parts(self) -> Iterator[Part]:
        try:
            header, begin = parse_header(self._data, self.number, self._path)
        except QueueCorrupt:
            self.expected = None
            size = len(self._data)
            text = "the segment's header is damaged, so none of its records can be checked"
            yield Part(self.number, Damage(text, 0, size))
            return
        if self.expected is not None and header.first_lsn > self.expected:
            yield self._missing(header.first_lsn)
        self.expected = header.first_lsn
        yield Part(self.number, header)
        for part in walk(self._data, seed(header.generation), begin=begin):
            if isinstance(part, Found):
                yield from self._record(part)
                continue
            yield Part(self.number, Damage(_bad_text(part), part.offset, part.size))
            for found in part.within:
                yield from self._record(found)

    def _record(self, found: Found) -> Iterator[Part]:
        assert self.expected is not None
        if found.lsn > self.expected:
            yield self._missing(found.lsn)
        self.expected = max(self.expected, found.lsn + 1)
        yield Part(self.number, found)

    def _missing(self, lsn: int) -> Part:
        last = "" if lsn == (self.expected or 0) + 1 else f" to {lsn - 1}"
        return Part(self.number, Damage(f"LSN {self.expected}{last} missing", None, 0))


def _bad_text(part: Bad) -> str:
    inside = f", {len(part.within)} whole records in it" if part.within else ""
    return f"{part.size} bytes are no whole record{inside}"


class Said(NamedTuple):
    """One thing that a record says: `about` is a kind of change, or one of `NOT_CHANGES`."""

    about: str
    job: int | None
    op: int | None
    text: str
    value: Any


def said(record: dict[str, Any]) -> Iterator[Said]:
    """Yield what a record says, one by one."""
    for change in record.get("changes", ()):
        kind = str(change.get("kind"))
        document = change.get("document") or {}
        job = document.get("id") if kind == "submitted" else change.get("job")
        yield Said(kind, job, change.get("op"), _change_text(kind, change), change)
    if "reflects" in record:
        text = f"job files are complete through LSN {record['reflects']}"
        yield Said("reflects", None, None, text, record["reflects"])
    if "mark" in record:
        text = "the queue was closed" if record["mark"] == "closed" else "idle"
        yield Said("mark", None, None, text, record["mark"])


def _change_text(kind: str, change: dict[str, Any]) -> str:
    if kind == "submitted":
        document = change["document"]
        ops = summaries_of(document.get("ops", ()))
        return f"submitted: {ops}"
    if kind == "log":
        return "; ".join(f"log: {shown(entry[-1])}" for entry in change["entries"])
    if kind in ("drain", "pause"):
        flag = change.get("flag")
        return f"{kind} ends" if flag is None else f"{kind} begins: {shown(flag)}"
    if kind == "quarantined":
        return f"set aside in quarantine: {change.get('reason')}"
    if kind in ("key", "unkey"):
        return f"{kind} {change.get('key')} {change.get('jobs') or ''}".rstrip()
    if kind == "serial":
        return f"serial is {change.get('serial')}"
    values = change.get("values")
    if values is None:
        return kind
    text = ", ".join(f"{key} = {shown(value, key)}" for key, value in values.items())
    return f"started: {text}" if kind == "started" else text


def shown(value: Any, key: str = "") -> str:
    """Return a value in one line, of bounded length; Ganeti's `[s, us]` as a local time."""
    if key.endswith("_timestamp") and value is not None:
        return local(time_of(value))
    text = value if isinstance(value, str) else jsonio.dumps(value).decode()
    return text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"


def time_of(stamp: Any) -> datetime | None:
    """Return the time of a stamp, `[s, us]` or seconds; None if it is none."""
    try:
        seconds = stamp if isinstance(stamp, int | float) else stamp[0] + stamp[1] / 1_000_000
        return datetime.fromtimestamp(seconds, UTC)
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None
