"""How far back the kept journal goes, and where in it a moment of the past stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from jqueue.errors import JQueueError, QueueCorrupt, QueueFailed
from jqueue.store.disk import Disk
from jqueue.store.following import MAX_HEADER_BYTES
from jqueue.store.record import Header
from jqueue.store.segment import (
    JOURNAL,
    Segment,
    parse_header,
    read_segment,
    segment_numbers,
    segment_path,
)


class OutOfReach(QueueFailed):
    """The kept journal doesn't go back as far, or the moment has not come yet."""


class Reach(NamedTuple):
    """The kept journal without a gap, back from its end.

    Its first segment and the LSN before its first record: the earliest moment that can be shown.
    `since` is the time of that record, None if there is none.
    """

    number: int
    lsn: int
    since: datetime | None


def reach(disk: Disk) -> Reach | None:
    """Return how far back the journal goes; None without one."""
    chain = _chain(disk)
    if not chain:
        return None
    header = chain[0]
    return Reach(header.segment, header.first_lsn - 1, _first_time(disk, chain))


def find_moment(disk: Disk, at: int | datetime, *, last_lsn: int) -> tuple[int, int]:
    """Return the LSN of a moment, and the segment in which the record after it stands.

    A time stands for the last record, from the end, that is not later.

    Raises OutOfReach if the moment is before what is kept, or after LSN `last_lsn`.
    """
    chain = _chain(disk)
    if not chain:
        raise OutOfReach(f"{disk.path}: there is no journal, so the past is not known")
    lsn = at if isinstance(at, int) else _lsn_at(disk, chain, at, last_lsn)
    if lsn > last_lsn:
        raise OutOfReach(f"{disk.path}: the journal ends at LSN {last_lsn}, {lsn} is not yet")
    if lsn < chain[0].first_lsn - 1:
        raise _too_early(disk, chain, f"LSN {lsn}")
    # The newest that begins there: what it copied from the one before counts.
    return lsn, max(header.segment for header in chain if header.first_lsn <= lsn + 1)


def _chain(disk: Disk) -> list[Header]:
    """Return the headers of the segments that follow each other without a gap, oldest first."""
    chain: list[Header] = []
    if not disk.is_dir(JOURNAL):
        return chain
    for number in reversed(segment_numbers(disk)):
        if chain and number != chain[0].segment - 1:
            break
        try:
            name = segment_path(number)
            data = disk.read_range(name, 0, MAX_HEADER_BYTES)
            header, _ = parse_header(data, number, str(disk.path / name))
        except (FileNotFoundError, JQueueError):
            break
        chain.insert(0, header)
    return chain


def _lsn_at(disk: Disk, chain: list[Header], at: datetime, last_lsn: int) -> int:
    until = at.timestamp()
    end = last_lsn + 1
    for header in reversed(chain):
        segment = _read(disk, header)
        for found in reversed(segment.records):
            if found.lsn < end and found.value.get("time", 0) <= until:
                return int(found.lsn)
        end = min(end, header.first_lsn)
    raise _too_early(disk, chain, at.astimezone().isoformat(" ", "seconds"))


def _read(disk: Disk, header: Header) -> Segment:
    try:
        return read_segment(disk, header.segment)
    except FileNotFoundError as error:
        path = str(disk.path / segment_path(header.segment))
        raise QueueFailed(f"{path}: the segment was dropped; read the queue again") from error


def _first_time(disk: Disk, chain: list[Header]) -> datetime | None:
    for header in chain:
        try:
            records = _read(disk, header).records
        except QueueCorrupt:
            return None
        if records:
            return datetime.fromtimestamp(records[0].value.get("time", 0), UTC)
    return None


def _too_early(disk: Disk, chain: list[Header], what: str) -> OutOfReach:
    since = _first_time(disk, chain)
    when = "" if since is None else f" ({since.astimezone().isoformat(' ', 'seconds')})"
    return OutOfReach(
        f"{disk.path}: the kept journal goes back to LSN {chain[0].first_lsn - 1}{when},"
        f" not to {what}"
    )
