"""What the files of a damaged queue still hold: every readable copy of every job, wherever it is.

A document is evidence for the job that it names itself, whatever its file is called: a file with a
wrong name, a temporary file that was never renamed, one part of a damaged pack.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import orjson

from archive_tools.check_job import Facts, facts_of
from archive_tools.check_names import is_temp
from archive_tools.repair_pack import salvage_pack
from jqueue.errors import InvalidJob, QueueFailed
from jqueue.job import jsonio
from jqueue.job.change import Document
from jqueue.job.document import check_document
from jqueue.job.ids import (
    ARCHIVE_DIVISOR,
    MAX_JOB_ID,
    archive_dir,
    job_file_name,
    parse_job_file_name,
)
from jqueue.job.status import FINALIZED, calc_status
from jqueue.store import opening
from jqueue.store.disk import Disk, FileTooLarge, NotRegular
from jqueue.store.packed import DamagedPack, Packs, pack_path

Kind = Literal["file", "pack", "temp"]

MAX_PACK_BYTES: Final = 8 << 30


class Copy(NamedTuple):
    """One readable document of a job."""

    job: int
    path: str
    kind: Kind
    archived: bool
    lsn: int
    final: bool
    ended: tuple[int, ...]
    content: int
    """CRC-32 of the document without its stamp."""
    facts: Facts


@dataclass(slots=True)
class PackEvidence:
    """A damaged pack: the files that can still be read from it, and which jobs it said it holds."""

    number: int
    files: dict[int, bytes] = field(default_factory=dict)
    listed: list[int] = field(default_factory=list)
    """What its index lists; empty where that can't be read."""


@dataclass(slots=True)
class FilesEvidence:
    """All of it."""

    copies: dict[int, list[Copy]] = field(default_factory=dict)
    broken: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Files with a job's name that are not that job: the job, and what is wrong, by path."""
    temps: list[str] = field(default_factory=list)
    packs: dict[int, PackEvidence] = field(default_factory=dict)
    highest: int = 0
    """The highest job ID that any name or document speaks of."""
    unlisted: int = 0
    """The highest ID that a pack may hold whose index can't be read; 0 without such a pack."""

    def see(self, job: int) -> None:
        """Note that this ID was given out."""
        self.highest = max(self.highest, job)


def gather(disk: Disk) -> FilesEvidence:
    """Read every job file, temporary file and pack.

    Raises QueueFailed where the operating system does not let us read one.
    """
    found = FilesEvidence()
    for path, archived in _paths(disk):
        _look(disk, path, found, archived=archived)
    packs = Packs(disk)
    for number in opening.archive_numbers(disk):
        if disk.exists(pack_path(number)):
            _look_into_pack(disk, packs, number, found)
    for name in disk.names("quarantine") if disk.is_dir("quarantine") else []:
        job = parse_job_file_name(name.partition(".")[0])
        found.see(job or 0)
    return found


def content_of(document: Document) -> int:
    """Return the CRC-32 of a document as it reads back from a file, without its stamp."""
    return _content(check_document(jsonio.loads(jsonio.dumps(document)), document["id"]))


def _content(plain: Document) -> int:
    unstamped = {key: value for key, value in plain.items() if key != "lsn"}
    return zlib.crc32(orjson.dumps(unstamped, option=orjson.OPT_SORT_KEYS))


def read_document(disk: Disk, copy: Copy) -> bytes:
    """Return the bytes of a copy."""
    if copy.kind == "pack":
        data = Packs(disk).read(copy.job)
        assert data is not None
        return data
    return disk.read(copy.path, opening.MAX_JOB_BYTES)


def _paths(disk: Disk) -> Iterator[tuple[str, bool]]:
    for name in sorted(disk.names()):
        yield name, False
    for number in opening.archive_numbers(disk):
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
    for child in copy.facts.children:
        # A damaged digit must not use up all IDs.
        found.see(child if child <= MAX_JOB_ID // 2 else 0)
    if job is not None and copy.job != job:
        found.broken[path] = (job, f"it holds job {copy.job}")
    if not temp or f"job-{copy.job}" in name:
        found.copies.setdefault(copy.job, []).append(copy)


def _reason(disk: Disk, path: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it can't be read"
    if not disk.size(path):
        return "the file is empty"
    return " ".join(str(error).split())[:200]


def _read(disk: Disk, path: str) -> bytes:
    try:
        return disk.read(path, opening.MAX_JOB_BYTES)
    except (FileNotFoundError, NotRegular, FileTooLarge):
        raise
    except PermissionError as error:
        full = str(disk.path / path)
        raise QueueFailed(f"{full}: {error.strerror}; nothing was changed", path=full) from error


def make_copy(data: bytes, path: str, kind: Kind, *, archived: bool) -> Copy:
    """Return what the bytes of a file say of a job; raises ValueError where that is none."""
    value = jsonio.loads(data)
    job = value.get("id") if isinstance(value, dict) else None
    if type(job) is not int or job < 0:
        raise InvalidJob("it holds no job")
    document = check_document(value, job)
    ended = document["end_timestamp"] or (0, 0)
    return Copy(
        job,
        path,
        kind,
        archived,
        document.get("lsn", 0),
        calc_status(document["ops"]) in FINALIZED,
        tuple(ended),
        _content(document),
        facts_of(document, path, archived=archived),
    )


# Packs


def _look_into_pack(disk: Disk, packs: Packs, number: int, found: FilesEvidence) -> None:
    evidence = PackEvidence(number)
    damaged = False
    try:
        evidence.listed = list(packs.ids(number))
    except (DamagedPack, NotRegular):
        damaged = True
    for job in evidence.listed:
        found.see(job)
        path = f"{archive_dir(job)}/{job_file_name(job)}"
        try:
            data = packs.read(job)
            copy = make_copy(data or b"", path, "pack", archived=True)
            if copy.job != job:
                raise InvalidJob(f"it holds job {copy.job}")
        except (ValueError, RecursionError, zlib.error):
            damaged = True
            continue
        found.copies.setdefault(job, []).append(copy)
    if damaged:
        evidence.files = _readable(disk, packs, evidence)
        found.packs[number] = evidence
        _replace_copies(found, evidence)


def _replace_copies(found: FilesEvidence, evidence: PackEvidence) -> None:
    """What a damaged pack holds will stand in a new one: its copies are those of the salvage."""
    for job, data in evidence.files.items():
        found.see(job)
        kept = [copy for copy in found.copies.get(job, []) if copy.kind != "pack"]
        path = f"{archive_dir(job)}/{job_file_name(job)}"
        found.copies[job] = [*kept, make_copy(data, path, "pack", archived=True)]
    if not evidence.listed:
        found.unlisted = max(found.unlisted, (evidence.number + 1) * ARCHIVE_DIVISOR - 1)


def _readable(disk: Disk, packs: Packs, evidence: PackEvidence) -> dict[int, bytes]:
    """Return the files that can be read from a damaged pack, through its index or without."""
    if not evidence.listed:
        try:
            data = disk.read(pack_path(evidence.number), MAX_PACK_BYTES)
        except NotRegular:
            return {}
        return dict(salvage_pack(data, evidence.number))
    files = {}
    for job in evidence.listed:
        with contextlib.suppress(ValueError, RecursionError, zlib.error):
            data = packs.read(job) or b""
            if make_copy(data, "", "pack", archived=True).job == job:
                files[job] = data
    return files
