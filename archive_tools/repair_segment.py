"""What one damaged segment still holds: whole records, one-bit errors, and bytes that are neither.

Checksums do more than find damage: they tell which bit was flipped, and with which generation a
record was written.
"""

from __future__ import annotations

import re
import zlib
from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from jqueue.errors import FormatTooNew
from jqueue.store.record import (
    FORMAT,
    HEADER_SEED,
    Header,
    decode_header,
    decode_line,
    seed,
)
from jqueue.store.segment import Found, walk

_GENERATION: Final = re.compile(rb'"generation":"([0-9a-f]{16})"')
_NAMED: Final = re.compile(rb'"(?:job|id)":([0-9]{1,18})')
_AGREEING: Final = 2
"""So many records with one checksum seed are no accident: 1 in 2^32."""
_VOTERS: Final = 32
_SMALL: Final = 1 << 16
_BODY: Final = len(b"01234567 ")
MAX_COUNT: Final = (1 << 63) - 1
"""No LSN comes near it, whatever a record says."""


class Bad(NamedTuple):
    """Bytes of a segment that are no whole record, and the jobs that they still name."""

    path: str
    offset: int
    size: int
    jobs: tuple[int, ...]


@dataclass(slots=True)
class Salvaged:
    """All that one segment still holds, its records by LSN.

    Between two looks at it the records are let go: of each its LSN is kept, and what it claims.
    """

    path: str
    number: int
    header: Header | None
    records: dict[int, Found] = field(default_factory=dict)
    bad: list[Bad] = field(default_factory=list)
    mended: list[tuple[int, int]] = field(default_factory=list)
    """LSN and offset of records with one flipped bit, which their checksum tells."""
    twice: list[int] = field(default_factory=list)
    """LSNs that stand there twice with different content; the first counts."""
    lsns: array[int] = field(default_factory=lambda: array("q"))
    """Those of the records that count, ascending."""
    claims: dict[str, array[int]] = field(default_factory=dict)
    """`durable` and `reflects` of each of them."""

    def let_go(self) -> None:
        """Keep of each record only its LSN and what it claims."""
        self.lsns = array("q", map(_bounded, sorted(self.records)))
        for name in ("durable", "reflects"):
            values = (self.records[lsn].value.get(name) for lsn in sorted(self.records))
            self.claims[name] = array("q", map(_bounded, map(count_of, values)))
        self.records = {}

    def cut(self, first_lsn: int) -> None:
        """Let no record from this LSN on count."""
        at = bisect_left(self.lsns, first_lsn)
        for values in (self.lsns, *self.claims.values()):
            del values[at:]

    @property
    def first_lsn(self) -> int:
        """Return the LSN that it begins with, as far as is known."""
        return self.header.first_lsn if self.header else min(self.lsns, default=0)

    def said(self, name: str) -> int:
        """Return the highest `durable` or `reflects` that header and records say."""
        highest = count_of(getattr(self.header, name)) if self.header else 0
        return max(highest, max(self.claims[name], default=0))


def salvage(data: bytes, name: int, path: str) -> Salvaged:
    """Return what the bytes of the segment file of number `name` still hold.

    Raises FormatTooNew: what a newer version wrote is not ours to judge.
    """
    end = data.find(b"\n") + 1 or len(data)
    header = decode_header(data[: end - 1])
    mended = None if header else mend(data[: end - 1], HEADER_SEED)
    if mended is not None:
        header = decode_header(mended)
    if header is not None and header.format > FORMAT:
        raise FormatTooNew(f"{path}: journal format {header.format}; install the newer version")
    start = seed(header.generation) if header else _find_seed(data)
    found = Salvaged(path, header.segment if header else name, header)
    if mended is not None:
        found.mended.append((0, 0))
    if header is None:
        found.bad.append(Bad(path, 0, end, ()))
    if start is not None:
        _read(found, data, end, start)
    elif end < len(data):
        found.bad.append(Bad(path, end, len(data) - end, _named(data[end:])))
    return found


def _read(found: Salvaged, data: bytes, offset: int, start: int) -> None:
    for part in walk(data, start, begin=offset):
        if isinstance(part, Found):
            _keep(found, part)
            continue
        line = data[part.offset : part.offset + part.size].removesuffix(b"\n")
        whole = mend(line, start)
        record = None if whole is None else decode_line(whole, start)
        if record is not None and isinstance(record.get("lsn"), int):
            if whole != line:
                found.mended.append((record["lsn"], part.offset))
            _keep(found, Found(part.offset, record["lsn"], record, part.size))
        else:
            found.bad.append(Bad(found.path, part.offset, len(line), _named(line)))
            for inside in part.within:
                _keep(found, inside)


def mend(line: bytes, start: int) -> bytes | None:
    """Return a line of which at most one bit was flipped as it was; None for any other damage.

    A flipped bit changes the checksum in a way that tells which one it was: of 500,000 bits one is
    taken for another once in 8,000 times, and then the line is hardly a record still.
    """
    if not _BODY < len(line) < _SMALL:
        return None
    body = line[_BODY:]
    actual = b"%08x " % zlib.crc32(body, start)
    if sum((a ^ b).bit_count() for a, b in zip(actual, line[:_BODY], strict=True)) <= 1:
        return actual + body
    try:
        wanted = int(line[: _BODY - 1], 16) ^ int(actual, 16)
    except ValueError:
        return None
    effects = [_TABLE[1 << bit] for bit in range(8)]
    for at in range(len(body) - 1, -1, -1):
        if wanted in effects:
            changed = bytearray(line)
            changed[_BODY + at] ^= 1 << effects.index(wanted)
            return bytes(changed)
        effects = [effect >> 8 ^ _TABLE[effect & 0xFF] for effect in effects]
    return None


def _keep(found: Salvaged, record: Found) -> None:
    known = found.records.setdefault(record.lsn, record)
    if known.value != record.value:
        found.twice.append(record.lsn)


def _named(data: bytes) -> tuple[int, ...]:
    return tuple(sorted({int(match[1]) for match in _NAMED.finditer(data)}))


def _find_seed(data: bytes) -> int | None:
    """Return the checksum seed of a segment whose header is damaged, from its records.

    A CRC runs backward as well as forward: each whole record tells the seed that it was begun with,
    and damaged ones each tell another.
    """
    lines = [line for line in data.split(b"\n")[1:] if _BODY < len(line) < _SMALL]
    votes: Counter[int] = Counter()
    for line in lines[:_VOTERS]:
        with_seed = _seed_of(line)
        if with_seed is not None:
            votes[with_seed] += 1
    best, count = votes.most_common(1)[0] if votes else (0, 0)
    if count >= _AGREEING:
        return best
    legible = _GENERATION.search(data[:4096])
    if legible and count and votes[seed(legible[1].decode())]:
        return seed(legible[1].decode())
    return None


def _seed_of(line: bytes) -> int | None:
    try:
        crc = int(line[:8], 16) ^ 0xFFFFFFFF
    except ValueError:
        return None
    for byte in reversed(line[_BODY:]):
        at = _BY_TOP[crc >> 24]
        crc = ((crc ^ _TABLE[at]) << 8 & 0xFFFFFFFF) | (at ^ byte)
    return crc ^ 0xFFFFFFFF


def _make_table() -> list[int]:
    # The CRC of one byte, without the inversions around it, is the table's entry.
    return [zlib.crc32(bytes([at ^ 0xFF])) ^ 0xFFFFFFFF ^ 0x00FFFFFF for at in range(256)]


_TABLE: Final = _make_table()
_BY_TOP: Final = {entry >> 24: at for at, entry in enumerate(_TABLE)}


def _bounded(value: int) -> int:
    return min(max(value, 0), MAX_COUNT)


def count_of(value: Any) -> int:
    """Return a number that a record says; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
