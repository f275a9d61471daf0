"""A queue directory of the operating system.

Every component of a path is opened relative to a directory descriptor with O_NOFOLLOW, so
nobody who can write to the directory can lead us out of it by a symbolic link.
"""

# ruff: noqa: D102 - RealDisk's methods keep the promises written at Disk's

import contextlib
import errno
import os
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Self

from jqueue.store.disk import AppendFile, Disk, FileTooLarge, NotRegular, split_path
from jqueue.store.failed import FULL_ERRNOS
from jqueue.store.syscalls import (
    CLOSED,
    RENAME_EXCHANGE,
    RENAME_FLAGS_UNSUPPORTED,
    RENAME_NOREPLACE,
    Descriptor,
    is_nowhere_else,
    rename_with,
    sync_file_system,
    write_all,
)

# Archive directories are visited in turn while jobs are archived or listed; the others (journal,
# livelocks, quarantine, archive) are four. Bounded: descriptors must not follow the history.
MAX_OPEN_DIRECTORIES = 32

# The watermark is one; a bound, should others be overwritten once and forgotten.
MAX_OVERWRITTEN = 4

# How much space a file with space ahead gets at a time: some hundred records of a journal.
AHEAD_BYTES = 256 << 10

# A large file's space is given back, not kept for the next.
MAX_REFILLED_BYTES = 1 << 16

# How much to ask for where a file has grown since its size was looked up.
_GROWTH = 4096


_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

PRIVATE_FILE = 0o600
GROUP_FILE = 0o640


class _RealAppendFile:
    def __init__(self, path: str, fd: int, size: int, ahead: int) -> None:
        self.path = path
        self.size = size
        self._fd = fd
        self._ahead = ahead
        self._room_end = size  # to where the file has bytes, at least
        self._end = size  # what was written to; differs from size while the end is in doubt
        self._failed = False

    def write(self, data: bytes) -> None:
        assert self._end == self.size, "cut() comes before the next write"
        self._end = -1
        end = self.size + len(data)
        if end > self._room_end and self._ahead:
            self._grow(data, end)
        else:
            write_all(self._fd, data, self.size)
        self.size = self._end = end

    def _grow(self, data: bytes, end: int) -> None:
        try:
            write_all(self._fd, data + b" " * self._ahead, self.size)
        except OSError as error:
            if error.errno not in FULL_ERRNOS:
                raise
            # What room there is, is for the data, and for others.
            os.ftruncate(self._fd, self.size)
            write_all(self._fd, data, self.size)
        else:
            self._room_end = end + self._ahead

    def sync(self) -> None:
        if self._failed:
            raise OSError(errno.EIO, "an earlier sync of this file failed", self.path)
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._failed = True
            raise

    def cut(self) -> None:
        os.ftruncate(self._fd, self.size)
        self._room_end = self.size
        self.sync()
        self._end = self.size

    def trim(self) -> None:
        if self._room_end > self.size == self._end:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
                self._room_end = self.size

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RealDisk(Disk):
    """A queue directory of the operating system, held by its descriptor.

    `file_mode` is given to every new file; None follows the directory: 0640 where the group may
    list it, else 0600. Directories get the same rights plus search. The umask plays no part.
    """

    def __init__(self, path: str | os.PathLike[str], *, file_mode: int | None = None) -> None:
        self.path = Path(path)
        self._root = Descriptor(os.open(self.path, _DIRECTORY & ~os.O_NOFOLLOW))
        self.fd = self._root.fd
        status = os.fstat(self.fd)
        self._device = status.st_dev
        if file_mode is None:
            group_reads = status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IXGRP
            file_mode = GROUP_FILE if group_reads else PRIVATE_FILE
        self.file_mode = file_mode
        self._lock = threading.RLock()
        self._directories: OrderedDict[str, Descriptor] = OrderedDict()
        self._latest: tuple[str, Descriptor] = ("", self._root)
        self._overwritten: dict[str, Descriptor] = {}
        self._exchange_works = True
        self._reading = _READ
        self._listing = _DIRECTORY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._directories.clear()
            self._overwritten.clear()
            self._root = CLOSED
            self._latest = ("", CLOSED)
            self.fd = -1

    # Reading

    def read(self, path: str, limit: int) -> bytes:
        fd, status = self._open_regular(path, self._reading)
        try:
            if status.st_size > limit:
                raise FileTooLarge(errno.EFBIG, f"file is longer than {limit} bytes", path)
            data = os.read(fd, status.st_size + 1)
            if len(data) == status.st_size > 0:
                return data  # all that was there when its size was asked
            # It has grown, or the read was short: only an empty one is the end of the file.
            while chunk := os.read(fd, max(status.st_size + 1 - len(data), _GROWTH)):
                data += chunk
                if len(data) > limit:
                    break
            if len(data) > limit:
                raise FileTooLarge(errno.EFBIG, f"file is longer than {limit} bytes", path)
            return data
        finally:
            os.close(fd)

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        fd, _ = self._open_regular(path, self._reading)
        try:
            data = b""
            while len(data) < size and (
                chunk := os.pread(fd, size - len(data), offset + len(data))
            ):
                data = data + chunk if data else chunk
            return data
        finally:
            os.close(fd)

    def size(self, path: str) -> int:
        return self._status(path).st_size

    def mtime_ns(self, path: str) -> int:
        return self._status(path).st_mtime_ns

    def exists(self, path: str) -> bool:
        try:
            self._status(path)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._status(path).st_mode)
        except FileNotFoundError:
            return False

    def names(self, path: str = "") -> list[str]:
        # A fresh description: threads that list one share its position, and would share the names.
        fd = os.open(".", self._listing, dir_fd=self._directory(path).fd)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    # Files

    def create(self, path: str, data: bytes) -> None:
        directory, name = self._locate(path)
        fd = os.open(name, _CREATE, PRIVATE_FILE, dir_fd=directory.fd)
        try:
            try:
                os.fchmod(fd, self.file_mode)
                write_all(fd, data, 0)
            finally:
                os.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory.fd)
            raise

    def append(self, path: str, *, create: bool = False, ahead: bool = False) -> AppendFile:
        if create:
            self.create(path, b"")
        fd, status = self._open_regular(path, _WRITE)
        return _RealAppendFile(path, fd, status.st_size, AHEAD_BYTES if ahead else 0)

    def overwrite(self, path: str, data: bytes) -> None:
        with self._lock:
            descriptor = self._overwritten.get(path) or self._open_or_create(path)
            write_all(descriptor.fd, data, 0)
            if os.fstat(descriptor.fd).st_size > len(data):
                os.ftruncate(descriptor.fd, len(data))
            self._overwritten[path] = descriptor
            if len(self._overwritten) > MAX_OVERWRITTEN:
                del self._overwritten[next(iter(self._overwritten))]

    def allocate(self, path: str, size: int) -> None:
        existed = self.exists(path)
        descriptor = self._open_or_create(path)
        old_size = os.fstat(descriptor.fd).st_size
        try:
            os.posix_fallocate(descriptor.fd, 0, size)
        except OSError:
            with contextlib.suppress(OSError):
                if existed:
                    os.ftruncate(descriptor.fd, old_size)
                else:
                    self.unlink(path)
            raise

    # Names

    def rename(self, source: str, target: str) -> None:
        from_directory, from_name = self._locate(source)
        to_directory, to_name = self._locate(target)
        os.rename(from_name, to_name, src_dir_fd=from_directory.fd, dst_dir_fd=to_directory.fd)
        self._forget(source)
        self._forget(target)

    def rename_new(self, source: str, target: str) -> None:
        error = self._rename_with(source, target, RENAME_NOREPLACE)
        if error in RENAME_FLAGS_UNSUPPORTED:
            # Not atomic against a stranger. Among ourselves one process owns the directory, and a
            # hard link, the atomic way, would show readers a file with two names.
            if self.exists(target):
                error = errno.EEXIST
            else:
                self.rename(source, target)
                return
        _raise_rename(error, source, target)
        self._forget(source)

    def replace(self, source: str, target: str) -> None:
        if self.swap(source, target):
            self.unlink(source)

    def swap(self, source: str, target: str) -> bool:
        if source == target or not self._exchange_works:
            self.rename(source, target)
            return False
        error = self._rename_with(source, target, RENAME_EXCHANGE)
        if error == errno.ENOENT:
            self.rename(source, target)
            return False
        if error in RENAME_FLAGS_UNSUPPORTED:
            self.rename(source, target)
            self._exchange_works = False
            return False
        _raise_rename(error, source, target)
        self._forget(target)
        if self.is_dir(source):
            # The target was a directory, which rename would have refused; put it back.
            _raise_rename(self._rename_with(source, target, RENAME_EXCHANGE), source, target)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        return True

    def refill(self, path: str, data: bytes) -> bool:
        directory, name = self._locate(path)
        fd = os.open(name, _WRITE, dir_fd=directory.fd)
        try:
            status = os.fstat(fd)
            if not self._is_like_new(status) or not is_nowhere_else(fd):
                return False
            write_all(fd, data, 0)
            if status.st_size > len(data):
                os.ftruncate(fd, len(data))
            return True
        finally:
            os.close(fd)

    def _is_like_new(self, status: os.stat_result) -> bool:
        """Whether a file has one name, and the owner and rights that a new one would get."""
        return (
            status.st_mode == stat.S_IFREG | self.file_mode
            and status.st_nlink == 1
            and status.st_uid == os.geteuid()
            and status.st_size <= MAX_REFILLED_BYTES
        )

    def unlink(self, path: str) -> None:
        directory, name = self._locate(path)
        os.unlink(name, dir_fd=directory.fd)
        self._forget(path)

    def mkdir(self, path: str, *, exist_ok: bool = False) -> None:
        directory, name = self._locate(path)
        try:
            os.mkdir(name, 0o700, dir_fd=directory.fd)
        except FileExistsError:
            if not (exist_ok and self.is_dir(path)):
                raise
        else:
            os.fchmod(self._directory(path).fd, directory_mode(self.file_mode))

    def set_mode(self, path: str, mode: int) -> None:
        if not path or self.is_dir(path):
            os.fchmod(self._directory(path).fd, mode)
            os.fsync(self._directory(path).fd)
            return
        fd, _ = self._open_regular(path, _READ)
        try:
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)

    # Durability

    def sync_file(self, path: str) -> None:
        fd, _ = self._open_regular(path, _READ)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def sync_dir(self, path: str = "") -> None:
        os.fsync(self._directory(path).fd)

    def sync_all(self) -> None:
        # Since Linux 5.8 syncfs reports every write error since the descriptor was opened, which
        # is why it is the one held from the beginning.
        sync_file_system(self._root.fd)

    # Descriptors

    def _locate(self, path: str) -> tuple[Descriptor, str]:
        directory, name = split_path(path)
        return (self._directory(directory) if directory else self._root), name

    def _directory(self, path: str) -> Descriptor:
        latest = self._latest
        if latest[0] == path:
            return latest[1]
        if not path:
            return self._root
        with self._lock:
            found = self._directories.get(path)
            if found is not None:
                self._directories.move_to_end(path)
                self._latest = (path, found)
                return found
            parent, name = self._locate(path)
            opened = Descriptor(os.open(name, _DIRECTORY, dir_fd=parent.fd))
            if os.fstat(opened.fd).st_dev != self._device:
                # A rename could not be atomic, and a sync of one would not reach the other.
                raise OSError(errno.EXDEV, "directory is on another file system", path)
            self._directories[path] = opened
            self._latest = (path, opened)
            if len(self._directories) > MAX_OPEN_DIRECTORIES:
                self._directories.popitem(last=False)
            return opened

    def _forget(self, path: str) -> None:
        """Drop cached descriptors of a name that now names something else."""
        with self._lock:
            for cache in (self._overwritten, self._directories):
                for known in [*cache]:
                    if known == path or known.startswith(path + "/"):
                        del cache[known]
            self._latest = ("", self._root)

    def _status(self, path: str) -> os.stat_result:
        directory, name = self._locate(path)
        return os.stat(name, dir_fd=directory.fd, follow_symlinks=False)

    def _open_regular(self, path: str, flags: int) -> tuple[int, os.stat_result]:
        directory, name = self._locate(path)
        try:
            fd = os.open(name, flags, dir_fd=directory.fd)
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                raise NotRegular(error.errno, "not a regular file", path) from error
            raise
        status = os.fstat(fd)
        # No link is left when another thread replaced the file after our open: still whole.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(fd)
            raise NotRegular(errno.EINVAL, "not a regular file with one name", path)
        return fd, status

    def _open_or_create(self, path: str) -> Descriptor:
        with contextlib.suppress(FileExistsError):
            self.create(path, b"")
        return Descriptor(self._open_regular(path, _WRITE)[0])

    def _rename_with(self, source: str, target: str, flags: int) -> int:
        """Call renameat2; return the errno, 0 for success."""
        from_directory, from_name = self._locate(source)
        to_directory, to_name = self._locate(target)
        return rename_with(from_directory.fd, from_name, to_directory.fd, to_name, flags)


class QuietDisk(RealDisk):
    """A queue directory that is looked at only: even the times of access stay as they are.

    Where the system does not allow that (the files are another user's) they are read all the same.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        try:
            os.close(os.open(".", _DIRECTORY | os.O_NOATIME, dir_fd=self.fd))
        except PermissionError:
            return
        self._reading = _READ | os.O_NOATIME
        self._listing = _DIRECTORY | os.O_NOATIME

    def _open_regular(self, path: str, flags: int) -> tuple[int, os.stat_result]:
        try:
            return super()._open_regular(path, flags)
        except PermissionError:
            return super()._open_regular(path, flags & ~os.O_NOATIME)

    def names(self, path: str = "") -> list[str]:
        try:
            return super().names(path)
        except PermissionError:
            self._listing = _DIRECTORY
            return super().names(path)


def make_root(path: str | os.PathLike[str], *, file_mode: int = PRIVATE_FILE) -> None:
    """Make the queue's directory and missing parents, durably; existing ones are kept.

    What exists may have been made by a process that was killed before it could sync the name, so
    until the journal stands in the directory every name on the way is synced again.
    """
    path = Path(path).absolute()
    if (path / "journal").is_dir():
        return
    for directory in reversed((path, *path.parents[:-1])):
        if not directory.is_dir():
            with contextlib.suppress(FileExistsError):
                directory.mkdir(0o700)
                directory.chmod(directory_mode(file_mode))
        # Where we may not read the parent, nobody like us made an entry of it.
        with contextlib.suppress(PermissionError):
            fd = os.open(directory.parent, _DIRECTORY & ~os.O_NOFOLLOW)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def directory_mode(file_mode: int) -> int:
    """Return the mode of a directory for files of `file_mode`: who may read may search."""
    return file_mode | (file_mode & 0o444) >> 2


def _raise_rename(error: int, source: str, target: str) -> None:
    if error:
        raise OSError(error, os.strerror(error), source, None, target)
