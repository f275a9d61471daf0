"""What the files of a damaged queue still hold: every readable copy of every job, wherever it is.

A document is evidence for the job that it names itself, whatever its file is called: a file with a
wrong name, a temporary file that was never renamed, one part of a damaged pack.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from archive_tools.check_names import is_temp
from archive_tools.repair_copies import Copies, Copy, make_copy, path_of
from archive_tools.repair_pack import salvage_pack
from jqueue.errors import InvalidJob, QueueFailed
from jqueue.job.ids import (
    ARCHIVE_DIVISOR,
    MAX_JOB_ID,
    parse_job_file_name,
)
from jqueue.store import jobfiles
from jqueue.store.disk import Disk, FileTooLarge, NotRegular
from jqueue.store.packed import DamagedPack, Packs, pack_path

MAX_PACK_BYTES: Final = 8 << 30


class PackEvidence(NamedTuple):
    """A damaged pack: which jobs can still be read from it, and which it said it holds."""

    number: int
    listed: list[int]
    """What its index lists; empty where that can't be read."""
    readable: list[int]


class FilesEvidence:
    """All of it."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._packs = Packs(disk)
        self._salvaged: tuple[int, dict[int, bytes]] = (-1, {})
        self.copies = Copies(self.read)
        self.broken: dict[str, tuple[int, str]] = {}
        """Files with a job's name that are not that job: the job, and what is wrong, by path."""
        self.temps: list[str] = []
        self.packs: dict[int, PackEvidence] = {}
        """The damaged ones."""
        self.highest = 0
        """The highest job ID that any name or document speaks of."""
        self.unlisted = 0
        """The highest ID that a pack may hold whose index can't be read; 0 without such a pack."""

    def see(self, job: int) -> None:
        """Note that this ID was given out."""
        self.highest = max(self.highest, job)

    def read(self, copy: Copy) -> bytes:
        """Return the bytes of a copy."""
        if copy.kind != "pack":
            return self._disk.read(copy.path, jobfiles.MAX_JOB_BYTES)
        pack = self.packs.get(copy.job // ARCHIVE_DIVISOR)
        data = self._packs.read(copy.job) if pack is None else self.salvaged(pack)[copy.job]
        assert data is not None
        return data

    def salvaged(self, pack: PackEvidence) -> dict[int, bytes]:
        """Return the files that can be read from a damaged pack; one pack's are remembered."""
        if self._salvaged[0] != pack.number:
            files = _readable(self._disk, self._packs, pack.number, pack.listed)
            self._salvaged = (pack.number, files)
        return self._salvaged[1]


def gather(disk: Disk) -> FilesEvidence:
    """Read every job file, temporary file and pack.

    Raises QueueFailed where the operating system does not let us read one.
    """
    found = FilesEvidence(disk)
    for path, archived in _paths(disk):
        _look(disk, path, found, archived=archived)
    packs = Packs(disk)
    for number in jobfiles.archive_numbers(disk):
        if disk.exists(pack_path(number)):
            _look_into_pack(disk, packs, number, found)
    for name in disk.names("quarantine") if disk.is_dir("quarantine") else []:
        job = parse_job_file_name(name.partition(".")[0])
        found.see(job or 0)
    return found


def _paths(disk: Disk) -> Iterator[tuple[str, bool]]:
    for name in sorted(disk.names()):
        yield name, False
    for number in jobfiles.archive_numbers(disk):
        for name in sorted(disk.names(f"archive/{number}")):
            yield f"archive/{number}/{name}", True


def _look(disk: Disk, path: str, found: FilesEvidence, *, archived: bool) -> None:
    name = path.rpartition("/")[2]
    job = parse_job_file_name(name)
    temp = job is None and is_temp(name)
    if job is None and not temp:
        return
    found.see(job or 0)
    if temp:
        found.temps.append(path)
    try:
        copy = make_copy(_read(disk, path), path, "temp" if temp else "file", archived=archived)
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        if job is not None:
            found.broken[path] = (job, _reason(disk, path, error))
        return
    found.see(copy.job)
    for child in copy.facts.children if copy.facts else ():
        # A damaged digit must not use up all IDs.
        found.see(child if child <= MAX_JOB_ID // 2 else 0)
    if job is not None and copy.job != job:
        found.broken[path] = (job, f"it holds job {copy.job}")
    if not temp or f"job-{copy.job}" in name:
        found.copies.add(copy)


def _reason(disk: Disk, path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it can't be read"
    if not disk.size(path):
        return "the file is empty"
    return " ".join(str(error).split())[:200]


def _read(disk: Disk, path: str) -> bytes:
    try:
        return disk.read(path, jobfiles.MAX_JOB_BYTES)
    except (FileNotFoundError, NotRegular, FileTooLarge):
        raise
    except PermissionError as error:
        full = str(disk.path / path)
        raise QueueFailed(f"{full}: {error.strerror}; nothing was changed", path=full) from error


# Packs


def _look_into_pack(disk: Disk, packs: Packs, number: int, found: FilesEvidence) -> None:
    listed: list[int] = []
    damaged = False
    try:
        listed = list(packs.ids(number))
    except (DamagedPack, NotRegular):
        damaged = True
    copies = []
    for job in listed:
        found.see(job)
        try:
            copies.append(_packed_copy(packs.read(job) or b"", job))
        except (ValueError, RecursionError, zlib.error):
            damaged = True
    if damaged:
        # What it holds will stand in a new pack: its copies are those of the salvage.
        files = _readable(disk, packs, number, listed)
        found.packs[number] = PackEvidence(number, listed, sorted(files))
        copies = [_packed_copy(data, job) for job, data in files.items()]
        if not listed:
            found.unlisted = max(found.unlisted, (number + 1) * ARCHIVE_DIVISOR - 1)
    for copy in copies:
        found.see(copy.job)
        found.copies.add(copy)


def _packed_copy(data: bytes, job: int) -> Copy:
    copy = make_copy(data, path_of(job, archived=True), "pack", archived=True)
    if copy.job != job:
        raise InvalidJob(f"it holds job {copy.job}")
    return copy


def _readable(disk: Disk, packs: Packs, number: int, listed: list[int]) -> dict[int, bytes]:
    """Return the files that can be read from a damaged pack, through its index or without."""
    if not listed:
        try:
            data = disk.read(pack_path(number), MAX_PACK_BYTES)
        except NotRegular:
            return {}
        return dict(salvage_pack(data, number))
    files = {}
    for job in listed:
        with contextlib.suppress(ValueError, RecursionError, zlib.error):
            data = packs.read(job) or b""
            if _packed_copy(data, job):
                files[job] = data
    return files
