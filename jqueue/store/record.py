"""The bytes of a journal: header and record lines, written and read by this one module.

A line is `checksum SP json LF`.  The checksum is the CRC-32 (ISO-HDLC, as zlib computes it) of the
segment's generation followed by the JSON bytes, in eight lower-case hexadecimal digits.  The JSON
holds no raw newline, so a line is a record and a record a line.  FORMAT.md has a worked example.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from jqueue.errors import TooLarge
from jqueue.job import jsonio

FORMAT: Final = 1
MAX_RECORD_BYTES: Final = 64 << 20
"""A larger transaction is refused.

So that memory for one record is bounded when it is read back.
"""
HEADER_SEED: Final = zlib.crc32(b"jqueue journal")

_CHECKSUM_BYTES: Final = 8
_RECORD: Final = re.compile(rb'[0-9a-f]{8} \{"lsn":')
_SPACE: Final = ord(b" ")
_LINE_OVERHEAD: Final = _CHECKSUM_BYTES + 2


class Header(NamedTuple):
    """The first line of a segment: what an opening needs when nothing older is left.

    `durable` is the last LSN before or in the segment when it was born: it was synced whole then.
    An index of LSN `indexed` misses no change that came before `reflects`.
    """

    format: int
    generation: str
    segment: int
    first_lsn: int
    mode: str
    durable: int
    reflects: int
    indexed: int
    serial: int
    drain: dict[str, Any] | None
    pause: dict[str, Any] | None


def seed(generation: str) -> int:
    """Return the checksum of the generation, from which each record's is continued."""
    return zlib.crc32(generation.encode("ascii"))


def encode_line(value: dict[str, Any], start: int) -> bytes:
    """Return `value` as a line; raises `TooLarge` beyond `MAX_RECORD_BYTES`."""
    body = jsonio.dumps(value)
    if len(body) > MAX_RECORD_BYTES:
        raise TooLarge(
            f"a transaction of {len(body)} bytes is more than a record holds ({MAX_RECORD_BYTES});"
            " submit less at once",
            size_bytes=len(body),
            limit_bytes=MAX_RECORD_BYTES,
        )
    return b"%08x %b\n" % (zlib.crc32(body, start), body)


def decode_line(line: bytes, start: int) -> dict[str, Any] | None:
    """Return the JSON object of a line without its LF, or None if the line is not whole."""
    if len(line) <= _LINE_OVERHEAD - 1 or line[_CHECKSUM_BYTES] != _SPACE:
        return None
    body = memoryview(line)[_CHECKSUM_BYTES + 1 :]
    if line[:_CHECKSUM_BYTES] != b"%08x" % zlib.crc32(body, start):
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def decode_within(line: bytes, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield offset and value of each whole record that stands inside a bad line, not at its start.

    Where the bytes between two records were damaged, the second is whole still: its JSON ends where
    a checksum says so, at the end of the line or before what looks like the next record.
    """
    begins = [match.start() for match in _RECORD.finditer(line)]
    for at, begin in enumerate(begins):
        ends = {len(line), *(end - 1 for end in begins[at + 1 : at + 2])}
        for end in sorted(ends):
            value = decode_line(line[begin:end], start)
            if (begin or end < len(line)) and value is not None and _is_record(value):
                yield begin, value
                break


def _is_record(value: dict[str, Any]) -> bool:
    return isinstance(value.get("lsn"), int) and isinstance(value.get("durable"), int)


def encode_header(header: Header) -> bytes:
    """Return the header line."""
    return encode_line(header._asdict(), HEADER_SEED)


def decode_header(line: bytes) -> Header | None:
    """Return the header, or None if the line is not one.

    A newer format's header has other members.
    """
    value = decode_line(line, HEADER_SEED)
    if value is None or not isinstance(value.get("format"), int):
        return None
    members: dict[str, Any] = {name: value.get(name) for name in Header._fields}
    return Header(**members)
