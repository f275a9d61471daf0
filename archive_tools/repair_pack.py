"""What can be read from a pack whose index is damaged, and a new pack of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Final

from jqueue.job.document import check_document
from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.store.packed import MAX_BLOCK_BYTES
from jqueue.store.packing import write_pack

_ZLIB: Final = b"\x78\x9c"
"""How each stream of `zlib.compress` begins."""


def salvage_pack(data: bytes, number: int) -> Iterator[tuple[int, bytes]]:
    """Yield each job whose file can be read from the blocks of pack `number`, and the file.

    Every block is a stream with a checksum of its own, so it is whole or isn't read.
    """
    for block in _streams(data):
        yield from _files_in(block, number)


def _streams(data: bytes) -> Iterator[bytes]:
    """Yield what each whole zlib stream in `data` holds; each ends with a checksum of its own."""
    at = data.find(_ZLIB)
    while at >= 0:
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(data[at : len(data)], MAX_BLOCK_BYTES)
        except zlib.error:
            content = b""
        if stream.eof:
            yield content
            at = data.find(_ZLIB, len(data) - len(stream.unused_data))
        else:
            at = data.find(_ZLIB, at + 1)


def _files_in(block: bytes, number: int) -> Iterator[tuple[int, bytes]]:
    """Yield the job files that stand one after the other in a block."""
    decoder = json.JSONDecoder()
    at = 0
    try:
        text = block.decode()
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            while end < len(text) and text[end] in " \t\r\n":
                end += 1
            data, at = text[at:end].encode(), end
            job = value.get("id") if isinstance(value, dict) else None
            if type(job) is int and job // ARCHIVE_DIVISOR == number:
                check_document(value, job)
                yield job, data
    except (ValueError, RecursionError):
        # The index's stream is no job, and what follows something else can't be told apart.
        return


class _Bytes:
    """A pack in memory."""

    def __init__(self) -> None:
        self.size = 0
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        """Append."""
        self.data += data
        self.size = len(self.data)


def packed(number: int, files: dict[int, bytes]) -> bytes:
    """Return a pack of these files; its generation follows from them: plans stay equal."""
    ordered = sorted(files.items())
    crc = 0
    for job, data in ordered:
        crc = zlib.crc32(b"%d " % job + data, crc)
    sink = _Bytes()
    write_pack(sink, number, ordered, f"{crc:08x}{len(ordered):08x}")
    return bytes(sink.data)
