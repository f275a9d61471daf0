"""A copy of a queue directory, to be repaired: of the original not even access times change."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from archive_tools.repair import check_directory
from jqueue.errors import QueueFailed
from jqueue.store.journal import RESERVE
from jqueue.store.lock import LOCK, OWNER

_NOT_COPIED: Final = frozenset({LOCK, OWNER, "socket", RESERVE})
"""What belongs to the owner of the original; the reserve is space, and made by every opening."""
_BLOCK: Final = 1 << 24


def copy_queue(source: Path, target: Path) -> None:
    """Copy the queue at `source` to the new or empty directory `target`.

    Blocks are shared where the file system can (`copy_file_range`), links stay links.  Raises
    QueueFailed if there is something at `target`, or no queue at `source`.
    """
    check_directory(source)
    if target.resolve().is_relative_to(source.resolve()):
        raise QueueFailed(f"{target}: a copy can't stand in its original")
    target.mkdir(mode=0o700, exist_ok=True)
    if any(target.iterdir()):
        raise QueueFailed(f"{target}: not empty; nothing was copied", path=str(target))
    _copy_directory(source, target, "")


def _copy_directory(source: Path, target: Path, below: str) -> None:
    status = source.stat()
    fd = _open_quietly(source, os.O_DIRECTORY)
    try:
        names = sorted(os.listdir(fd))
    finally:
        os.close(fd)
    for name in names:
        path = f"{below}{name}"
        if path not in _NOT_COPIED:
            _copy(source / name, target / name, path)
    target.chmod(stat.S_IMODE(status.st_mode))


def _copy(source: Path, target: Path, path: str) -> None:
    status = source.lstat()
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(mode=0o700)
        _copy_directory(source, target, f"{path}/")
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(target, stat.S_IMODE(status.st_mode))
    elif stat.S_ISREG(status.st_mode):
        _copy_file(source, target, status)


def _copy_file(source: Path, target: Path, status: os.stat_result) -> None:
    reading = _open_quietly(source)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while os.copy_file_range(reading, writing, _BLOCK):
                pass
            os.fchmod(writing, stat.S_IMODE(status.st_mode))
            os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _open_quietly(path: Path, flags: int = 0) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(PermissionError):
        return os.open(path, flags | os.O_NOATIME)
    return os.open(path, flags)
