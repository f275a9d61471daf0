"""Packed archive directories, read: `archive/D/pack` holds the files of many archived jobs.

    header    {"format", "generation", "pack": D}: a checksummed line
    blocks    each a zlib stream of some job files, one after the other, as they were
    index     a zlib stream of {"jobs", "sizes", "blocks"}
    footer    {"offset", "size", "crc"} of the index: a checksummed line of 128 bytes

Every checksum goes on from the generation's, so that no part of one pack passes for another's.  A
pack is only ever replaced as a whole (`jqueue.store.packing`); what is remembered of it is good as
long as its generation is.  A file beside the pack counts before the pack's copy of it.
"""

from __future__ import annotations

import threading
import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from itertools import accumulate
from typing import Any, Final, NamedTuple

from jqueue.job import jsonio
from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.store.disk import Disk
from jqueue.store.record import decode_line, seed

PACK_FORMAT: Final = 1
PACK_SEED: Final = zlib.crc32(b"jqueue pack")
HEADER_LIMIT: Final = 128
FOOTER_BYTES: Final = 128
MAX_INDEX_BYTES: Final = 1 << 20
"""10,000 jobs need about 100 KB before compression."""
MAX_BLOCK_BYTES: Final = 128 << 20
"""A block is closed by the file that makes it too large, and a file has at most 64 MiB."""
REMEMBERED_INDEXES: Final = 8
TRIES: Final = 5
"""A pack may be replaced while it is read; then it is read again."""


class DamagedPack(ValueError):
    """A pack that can't be read as one; the message says where and why."""


class Index(NamedTuple):
    """What a pack holds, in ascending order of the jobs.

    `ends` are where each file ends in the blocks' contents one after the other; `blocks` are
    `[offset, size, crc, number of the first job in it]`.
    """

    generation: str
    jobs: list[int]
    ends: list[int]
    blocks: list[list[int]]

    def position(self, job: int) -> int | None:
        """Return the job's number in the pack, None if it isn't there."""
        at = bisect_left(self.jobs, job)
        return at if at < len(self.jobs) and self.jobs[at] == job else None

    def begin(self, at: int) -> int:
        """Return where file number `at` begins in the blocks' contents."""
        return self.ends[at - 1] if at else 0


def pack_path(number: int) -> str:
    """Return the path of the pack of archive directory `number`."""
    return f"archive/{number}/pack"


class Packs:
    """The packs of a queue.  Thread-safe; remembers a few indexes and one block."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._indexes: OrderedDict[int, Index] = OrderedDict()
        self._block: tuple[tuple[str, int], bytes] = (("", 0), b"")

    def read(self, job: int) -> bytes | None:
        """Return the bytes of the packed file of `job`; None if no pack holds it.

        Raises DamagedPack or OSError.
        """
        number = job // ARCHIVE_DIVISOR
        with self._lock:
            for _ in range(TRIES):
                index = self._index(number)
                at = None if index is None else index.position(job)
                if index is None or (at is None and self._is_current(number, index)):
                    return None
                data = None if at is None else self._content(number, index, at)
                if data is not None:
                    return data
                self._indexes.pop(number, None)
        raise DamagedPack(f"{self._disk.path / pack_path(number)}: the block of job {job}")

    def ids(self, number: int) -> list[int]:
        """Return the jobs in the pack of directory `number`, ascending; none without a pack.

        Raises DamagedPack or OSError.
        """
        with self._lock:
            index = self._index(number)
            if index is not None and not self._is_current(number, index):
                self._indexes.pop(number, None)
                index = self._index(number)
            return [] if index is None else index.jobs

    def fault(self, number: int) -> str | None:
        """Return what is wrong with the pack of directory `number`; None: each block is whole."""
        try:
            with self._lock:
                index = self._index(number)
                for offset, size, crc, first in [] if index is None else index.blocks:
                    data = self._disk.read_range(pack_path(number), offset, size)
                    if index is not None and zlib.crc32(data, seed(index.generation)) != crc:
                        return f"the block of job {index.jobs[first]} in {pack_path(number)}"
        except (DamagedPack, OSError) as error:
            return str(error)
        return None

    def _index(self, number: int) -> Index | None:
        """Return the remembered index, or the pack's; None without a pack."""
        index = self._indexes.get(number)
        if index is None:
            try:
                index = self._read_index(number)
            except FileNotFoundError:
                return None
            self._indexes[number] = index
            while len(self._indexes) > REMEMBERED_INDEXES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(number)
        return index

    def _read_index(self, number: int) -> Index:
        path = pack_path(number)
        for _ in range(TRIES):
            generation = self._generation(number)
            try:
                return self._decode_index(path, generation)
            except (ValueError, KeyError, TypeError, zlib.error) as error:
                if self._generation(number) == generation:
                    raise DamagedPack(f"{self._disk.path / path}: {error}") from error
        raise DamagedPack(f"{self._disk.path / path}: it changes too fast to be read")

    def _generation(self, number: int) -> str:
        path = pack_path(number)
        line, _, _ = self._disk.read_range(path, 0, HEADER_LIMIT).partition(b"\n")
        header = decode_line(line, PACK_SEED)
        if header is None or header.get("pack") != number:
            raise DamagedPack(f"{self._disk.path / path}: its header is damaged")
        if header.get("format") != PACK_FORMAT:
            raise DamagedPack(f"{self._disk.path / path}: of format {header.get('format')!r}")
        return str(header["generation"])

    def _decode_index(self, path: str, generation: str) -> Index:
        start = seed(generation)
        end = self._disk.size(path) - FOOTER_BYTES
        footer = decode_line(self._disk.read_range(path, max(end, 0), FOOTER_BYTES).rstrip(), start)
        if footer is None:
            raise ValueError("its footer is damaged")
        packed = self._disk.read_range(path, footer["offset"], footer["size"])
        if zlib.crc32(packed, start) != footer["crc"]:
            raise ValueError("its index is damaged")
        value: dict[str, Any] = jsonio.loads(inflate(packed, MAX_INDEX_BYTES))
        return Index(generation, value["jobs"], list(accumulate(value["sizes"])), value["blocks"])

    def _is_current(self, number: int, index: Index) -> bool:
        try:
            return self._generation(number) == index.generation
        except FileNotFoundError:
            return False

    def _content(self, number: int, index: Index, at: int) -> bytes | None:
        """Return file number `at`; None if the pack is another by now, or damaged there."""
        block = bisect_right(index.blocks, at, key=lambda found: found[3]) - 1
        offset, size, crc, first = index.blocks[block]
        name = (index.generation, block)
        if self._block[0] != name:
            try:
                packed = self._disk.read_range(pack_path(number), offset, size)
            except FileNotFoundError:
                return None
            if zlib.crc32(packed, seed(index.generation)) != crc:
                return None
            self._block = (name, inflate(packed, MAX_BLOCK_BYTES))
        base = index.begin(first)
        return self._block[1][index.begin(at) - base : index.ends[at] - base]


def inflate(packed: bytes, limit: int) -> bytes:
    """Return what a zlib stream holds; raises ValueError beyond `limit` bytes, or zlib.error."""
    stream = zlib.decompressobj()
    data = stream.decompress(packed, limit)
    if not stream.eof:
        raise ValueError(f"a compressed part is cut off, or holds more than {limit} bytes")
    return data
