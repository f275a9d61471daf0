"""Packing and unpacking archive directories, for the queue's owner.

In this order, so that a crash at any step leaves the files, or the pack, or both, never neither:
packing writes the pack under a temporary name, syncs it, renames it, syncs the directory, and only
then unlinks the files that it holds; unpacking writes and syncs all files under temporary names,
renames them, syncs the directory, and only then unlinks the pack.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from jqueue.job import jsonio
from jqueue.job.document import check_document
from jqueue.job.ids import ARCHIVE_DIVISOR, archive_dir, job_file_name, parse_job_file_name
from jqueue.store.disk import TEMP_NAME, Disk
from jqueue.store.packed import (
    FOOTER_BYTES,
    PACK_FORMAT,
    PACK_SEED,
    DamagedPack,
    Packs,
    pack_path,
)
from jqueue.store.record import MAX_RECORD_BYTES, encode_line, seed

_log = logging.getLogger(__name__)

BLOCK_JOBS: Final = 16
"""Measured: 16 jobs are read in 30 µs and need 150 B each; 64 need 137 B and take 107 µs."""
BLOCK_BYTES: Final = 256 << 10
"""A block is closed when its files are larger than this together."""
_TEMP: Final = ".tmp-pack."


class Packed(NamedTuple):
    """What came of it: how many jobs are packed (or restored) now, and what was left alone."""

    jobs: int
    left: list[str]


class Packer:
    """Packs, unpacks and removes jobs from packs; one at a time."""

    def __init__(self, disk: Disk, packs: Packs) -> None:
        self._disk = disk
        self._packs = packs
        self._work = threading.RLock()

    def pack(self, number: int) -> Packed:
        """Put all files of archive directory `number` into its pack, beside what it holds.

        A file that can't be read as its job's is left as it is.  Raises OSError, DamagedPack; then
        files and pack are as good as before.
        """
        with self._work:
            self._remove_temps(number)
            loose = self._loose(number)
            kept: list[int] = []
            left: list[str] = []
            if not loose:
                return Packed(len(self._packs.ids(number)), left)
            files = self._files(number, set(loose), kept, left)
            count = self._write(number, files)
            for job in kept:
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(f"{archive_dir(job)}/{job_file_name(job)}")
            self._disk.sync_dir(f"archive/{number}")
            return Packed(count, left)

    def unpack(self, number: int) -> Packed:
        """Restore every file of the pack of directory `number`, byte for byte, and remove it.

        A damaged file that stands there stays, and so does the pack.
        """
        with self._work:
            self._remove_temps(number)
            if not self._disk.exists(pack_path(number)):
                return Packed(0, [])
            directory = f"archive/{number}"
            there, left = self._good(number)
            jobs = self._packs.ids(number)
            made = {job: self._restore(job) for job in jobs if job not in there}
            if made:
                # Only synced content may come to stand before the pack's.
                self._disk.sync_all()
            for job, temp in made.items():
                # Taken by now: archived again after a crash, with the same content.
                self._disk.replace(temp, f"{directory}/{job_file_name(job)}")
            self._disk.sync_dir(directory)
            if not left and jobs:
                self._disk.unlink(pack_path(number))
                self._disk.sync_dir(directory)
            return Packed(len(jobs), left)

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Neither pack nor unpack meanwhile: a file that is removed comes out of no pack again."""
        with self._work:
            yield

    def drop(self, jobs: Iterable[int]) -> None:
        """Remove jobs from the packs that hold them; a damaged pack is left, and said."""
        asked: dict[int, set[int]] = {}
        for job in jobs:
            asked.setdefault(job // ARCHIVE_DIVISOR, set()).add(job)
        for number, gone in asked.items():
            if not self._disk.exists(pack_path(number)):
                continue
            try:
                with self._work:
                    self._drop(number, gone)
            except DamagedPack as error:
                _log.error("%s; jobs that are gone could not be removed from it", error)

    def _drop(self, number: int, gone: set[int]) -> None:
        packed = self._packs.ids(number)
        kept = [job for job in packed if job not in gone]
        if len(kept) == len(packed):
            return
        if kept:
            self._write(number, ((job, self._packed(job)) for job in kept))
        else:
            self._disk.unlink(pack_path(number))
            self._disk.sync_dir(f"archive/{number}")

    def _loose(self, number: int) -> list[int]:
        directory = f"archive/{number}"
        if not self._disk.is_dir(directory):
            return []
        jobs = (parse_job_file_name(name) for name in self._disk.names(directory))
        return [job for job in jobs if job is not None and archive_dir(job) == directory]

    def _good(self, number: int) -> tuple[set[int], list[str]]:
        """Return the jobs with a file of their own, and those among them that can't be read."""
        there = self._loose(number)
        left: list[str] = []
        for job in there:
            self._read(job, left)
        return set(there), left

    def _read(self, job: int, left: list[str]) -> bytes | None:
        """Return the bytes of a job's own file; None if it is gone, or no job's, which is noted."""
        path = f"{archive_dir(job)}/{job_file_name(job)}"
        try:
            data = self._disk.read(path, MAX_RECORD_BYTES)
            check_document(jsonio.loads(data), job)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            left.append(f"{path}: {error}")
            return None
        return data

    def _files(
        self, number: int, loose: set[int], kept: list[int], left: list[str]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the files to pack, and note which loose ones the pack holds then."""
        packed = set(self._packs.ids(number))
        for job in sorted(loose | packed):
            data = self._read(job, left) if job in loose else None
            if data is not None:
                kept.append(job)
                yield job, data
            elif job in packed:
                yield job, self._packed(job)

    def _packed(self, job: int) -> bytes:
        data = self._packs.read(job)
        if data is None:
            raise DamagedPack(f"{pack_path(job // ARCHIVE_DIVISOR)}: job {job} is not there")
        return data

    def _write(self, number: int, files: Iterable[tuple[int, bytes]]) -> int:
        """Write a pack of these files over what stands there, durably; returns how many."""
        path = pack_path(number)
        temp = f"archive/{number}/{_TEMP}-{os.urandom(8).hex()}"
        file = self._disk.append(temp, create=True)
        try:
            count = write_pack(file, number, files, os.urandom(8).hex())
            file.sync()
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                self._disk.unlink(temp)
            raise
        file.close()
        if not count:
            self._disk.unlink(temp)
            return 0
        self._disk.rename(temp, path)
        self._disk.sync_dir(f"archive/{number}")
        return count

    def _restore(self, job: int) -> str:
        temp = f"{archive_dir(job)}/{_TEMP}{job_file_name(job)}-{os.urandom(8).hex()}"
        self._disk.create(temp, self._packed(job))
        return temp

    def _remove_temps(self, number: int) -> None:
        """Remove what a crash left of an earlier attempt, and nothing of the job files' writer."""
        directory = f"archive/{number}"
        if self._disk.is_dir(directory):
            for name in self._disk.names(directory):
                if name.startswith(_TEMP) and TEMP_NAME.fullmatch(name):
                    self._disk.unlink(f"{directory}/{name}")


class Sink(Protocol):
    """What a pack is written to: it grows at its end."""

    size: int

    def write(self, data: bytes) -> None:
        """Append."""


def write_pack(file: Sink, number: int, files: Iterable[tuple[int, bytes]], generation: str) -> int:
    """Write a pack of these files, ascending by job, to an empty `file`; return how many.

    `generation` is 16 hexadecimal digits that no other pack has.
    """
    start = seed(generation)
    header = {"format": PACK_FORMAT, "generation": generation, "pack": number}
    file.write(encode_line(header, PACK_SEED))
    jobs: list[int] = []
    sizes: list[int] = []
    blocks: list[list[int]] = []
    waiting: list[bytes] = []

    def close_block() -> None:
        packed = zlib.compress(b"".join(waiting))
        blocks.append([file.size, len(packed), zlib.crc32(packed, start), len(jobs) - len(waiting)])
        file.write(packed)
        waiting.clear()

    for job, data in files:
        jobs.append(job)
        sizes.append(len(data))
        waiting.append(data)
        if len(waiting) == BLOCK_JOBS or sum(map(len, waiting)) > BLOCK_BYTES:
            close_block()
    if waiting:
        close_block()
    index = zlib.compress(jsonio.dumps({"jobs": jobs, "sizes": sizes, "blocks": blocks}))
    footer = {"offset": file.size, "size": len(index), "crc": zlib.crc32(index, start)}
    file.write(index)
    file.write(encode_line(footer, start).rstrip(b"\n").ljust(FOOTER_BYTES - 1) + b"\n")
    return len(jobs)
