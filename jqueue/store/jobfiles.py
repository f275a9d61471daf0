"""What the files of a queue directory hold: jobs live, archived and packed; serial and flags."""

from __future__ import annotations

import contextlib
import errno
import logging
from typing import Any, Final

from jqueue.errors import QueueFailed
from jqueue.job import jsonio
from jqueue.job.document import check_document
from jqueue.job.ids import (
    ARCHIVE_DIVISOR,
    JobId,
    archive_dir,
    job_file_name,
    parse_job_file_name,
)
from jqueue.job.state import Entry, Place
from jqueue.store.disk import Disk, FileTooLarge, NotRegular
from jqueue.store.packed import DamagedPack, Packs, pack_path

_log = logging.getLogger(__name__)

MAX_JOB_BYTES: Final = 64 << 20
"""No job file is longer than a record, so none is read that is."""
QUARANTINED: Final = Entry(None, Place.QUARANTINE, 0)


class Damaged(ValueError):
    """A job file that can't be read as one."""


def read_document(disk: Disk, path: str, job: int) -> dict[str, Any]:
    """Return the document in a job file.

    Raises Damaged with what is wrong, FileNotFoundError, or QueueFailed if it can't be told.
    """
    try:
        data = _read(disk, path, MAX_JOB_BYTES)
        return check_document(jsonio.loads(data), job)
    except FileNotFoundError:
        raise
    except OSError as error:
        if _is_damage(error):
            raise Damaged(str(error)) from error
        full = str(disk.path / path)
        raise QueueFailed(f"{full}: {error.strerror}; nothing was changed", path=full) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from error


def _is_damage(error: OSError) -> bool:
    """Say whether the file itself is to blame, not a want of memory, descriptors or rights."""
    return isinstance(error, NotRegular | FileTooLarge) or error.errno == errno.EIO


def _read(disk: Disk, path: str, limit: int) -> bytes:
    """Return the file's content; only a read that fails twice with EIO fails."""
    try:
        return disk.read(path, limit)
    except OSError as error:
        if error.errno != errno.EIO or isinstance(error, NotRegular | FileTooLarge):
            raise
        return disk.read(path, limit)


def load(disk: Disk, job: int, packs: Packs | None = None) -> Entry | None:
    """Return what the files say of a job, live before archived; a damaged file is QUARANTINED.

    `packs` remembers what it read of packed archives for the next time.
    """
    with contextlib.suppress(FileNotFoundError):
        return load_live(disk, job)
    try:
        archived = read_archived(disk, job, packs)
    except Damaged:
        return QUARANTINED
    return None if archived is None else Entry(archived, Place.ARCHIVE, archived.get("lsn", 0))


def load_live(disk: Disk, job: int) -> Entry:
    """Return what the live file of a job says, as `load`.  Raises FileNotFoundError."""
    try:
        document = read_document(disk, job_file_name(job), job)
    except Damaged:
        return QUARANTINED
    return Entry(document, Place.LIVE, document.get("lsn", 0))


def read_archived(disk: Disk, job: int, packs: Packs | None = None) -> dict[str, Any] | None:
    """Return the document of an archived job, from its file or from a pack; None if it has none.

    Raises Damaged, or QueueFailed if it can't be told.
    """
    path = f"{archive_dir(job)}/{job_file_name(job)}"
    damaged: Damaged | None = None
    packs = packs or Packs(disk)
    # The file, the pack, and the file again: it may have been unpacked in between.
    for look in range(2):
        try:
            return read_document(disk, path, job)
        except FileNotFoundError:
            pass
        except Damaged as error:
            damaged = error
        if look == 0 and (document := read_packed(packs, job, path)) is not None:
            return document
    if damaged is not None:
        raise damaged
    return None


def read_packed(packs: Packs, job: int, path: str) -> dict[str, Any] | None:
    """Return the document of a packed job, None if no pack holds it; raises as `read_archived`."""
    try:
        data = packs.read(job)
        return None if data is None else check_document(jsonio.loads(data), job)
    except OSError as error:
        raise QueueFailed(f"{path}: {error.strerror}; nothing was changed", path=path) from error
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from error


def damage(disk: Disk, job: int) -> str | None:
    """Return what is wrong with the live file of a job; None if nothing, or if there is none."""
    try:
        read_document(disk, job_file_name(job), job)
    except Damaged as error:
        return str(error)
    except FileNotFoundError:
        return None
    return None


def archived_ids(disk: Disk, packs: Packs | None = None) -> list[int]:
    """Return the IDs in the archive, ascending; files in the wrong directory are left out."""
    packs = packs or Packs(disk)
    found: list[int] = []
    for number in archive_numbers(disk):
        found += sorted(archived_in(disk, number, packs))
    return found


def archived_in(disk: Disk, number: int, packs: Packs) -> set[int]:
    """Return the jobs of one archive directory, those in its pack too; a damaged pack is said."""
    loose, packed = loose_and_packed(disk, number, packs)
    return loose.union(packed)


def loose_and_packed(disk: Disk, number: int, packs: Packs) -> tuple[set[int], list[int]]:
    """Return the jobs of one archive directory that have a file of their own, and those packed."""
    was_packed = disk.exists(pack_path(number))
    loose = _named_in(disk, number)
    # Packing names the pack before files go, unpacking names the files before the pack goes.
    try:
        packed = packs.ids(number)
    except DamagedPack as error:
        _log.error("%s; the jobs in it can't be listed", error)
        packed = []
    if was_packed and not packed:
        loose |= _named_in(disk, number)
    return loose, packed


def _named_in(disk: Disk, number: int) -> set[int]:
    jobs = map(parse_job_file_name, disk.names(f"archive/{number}"))
    return {job for job in jobs if job is not None and job // ARCHIVE_DIVISOR == number}


def archive_numbers(disk: Disk) -> list[int]:
    """Return the numbers of the archive's directories, ascending."""
    if not disk.is_dir("archive"):
        return []
    names = [name for name in disk.names("archive") if name.isascii() and name.isdigit()]
    return sorted(
        int(name) for name in names if str(int(name)) == name and disk.is_dir(f"archive/{name}")
    )


def highest_archived(disk: Disk) -> int:
    """Return the highest ID in the archive, or 0."""
    packs = Packs(disk)
    for number in reversed(archive_numbers(disk)):
        jobs = [parse_job_file_name(name) for name in disk.names(f"archive/{number}")]
        known = [job for job in jobs if job is not None]
        try:
            known.extend(map(JobId, packs.ids(number)))
        except DamagedPack:
            # What it holds is not known, and no ID is ever given out again.
            known.append(JobId((number + 1) * ARCHIVE_DIVISOR - 1))
        if known:
            return max(known)
    return 0


def serial_file(disk: Disk) -> int:
    """Return the number in the serial file.

    A lost, negative or foreign one counts as 0 and is said.
    """
    try:
        text = _read(disk, "serial", 64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    except OSError as error:
        if not _is_damage(error):
            raise
        _log.warning("%s: %s; the highest job ID counts instead", disk.path / "serial", error)
        return 0
    if text.isascii() and text.isdigit():
        return int(text)
    _log.warning(
        "%s: not a number: %.40r; the highest job ID counts instead", disk.path / "serial", text
    )
    return 0


def read_flag(disk: Disk, name: str) -> dict[str, Any] | None:
    """Return the drain or pause file's content; Ganeti's empty one is set, without a reason."""
    try:
        data = _read(disk, name, 1 << 16)
    except FileNotFoundError:
        return None
    except OSError as error:
        if not _is_damage(error):
            raise
        data = b""
    try:
        value = jsonio.loads(data) if data.strip() else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}
