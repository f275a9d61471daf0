"""The file-system seam: every system call of jqueue that changes the disk is made here.

A `Disk` is one queue directory. Paths are relative and use "/": "job-1", "archive/0/job-1",
"journal/00000001". Nothing here decides when to sync, and nothing is durable unless a method says
so; the promises about durability belong to the callers. `tests/fakes/disk.py` has the same
interface with a power switch, and one conformance suite runs on both.

Every component of a path is opened relative to a directory descriptor with O_NOFOLLOW, so
nobody who can write to the directory can lead us out of it by a symbolic link.
"""

# ruff: noqa: D102 - RealDisk's methods keep the promises written at Disk's

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol, Self

# Archive directories are visited in turn while jobs are archived or listed; the others (journal,
# livelocks, quarantine, archive) are four. Bounded: descriptors must not follow the history.
MAX_OPEN_DIRECTORIES = 32

# The watermark is one; a bound, should others be overwritten once and forgotten.
MAX_OVERWRITTEN = 4

# A large file's space is given back, not kept for the next.
MAX_REFILLED_BYTES = 1 << 16

# A file that `write_file` has not yet renamed into place. Only names that match in full may be
# removed at open; the pattern is closed, so that it can't match a name that anybody else chose.
TEMP_PREFIX = ".tmp-"
TEMP_NAME = re.compile(r"\.tmp-[A-Za-z0-9._-]{1,200}-[0-9a-f]{16}", re.ASCII)

# How much to ask for where a file has grown since its size was looked up.
_GROWTH = 4096

PRIVATE_FILE = 0o600
GROUP_FILE = 0o640

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_RENAME_FLAGS_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_libc = ctypes.CDLL(None, use_errno=True)
_renameat2 = getattr(_libc, "renameat2", None)  # musl has it only since 1.2.6
if _renameat2 is not None:
    _renameat2.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )


class NotRegular(OSError):
    """The path names a symbolic link, FIFO, device, directory or hard-linked file."""


class FileTooLarge(OSError):
    """The file is longer than the caller is ready to hold in memory."""


class AppendFile(Protocol):
    """A file that grows at its end; one thread writes at a time, another may sync meanwhile."""

    path: str
    size: int
    """The last good end: where the next write goes, and where `cut` cuts."""

    def write(self, data: bytes) -> None:
        """Append all of `data`, not synced.

        After an OSError any prefix of `data` may be in the file behind `size`, and nothing may be
        written before `cut` has removed it.
        """

    def sync(self) -> None:
        """Make everything written before this call durable (fdatasync).

        After a failure every later sync of this file fails too: the kernel reports a lost write
        once, then forgets it, so that a second sync would lie.
        """

    def cut(self) -> None:
        """Remove what lies behind `size`, durably. A failure counts as a failed sync."""

    def close(self) -> None:
        """Close the descriptor; nothing is synced. Closing twice is harmless."""


class Disk(Protocol):
    """One queue directory. Safe to use from several threads; errors are plain OSErrors."""

    path: Path
    fd: int
    """Descriptor of the directory, -1 where there is none."""

    def read(self, path: str, limit: int) -> bytes:
        """Return the whole file. Raises NotRegular, and FileTooLarge beyond `limit` bytes."""

    def read_range(self, path: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only where the file ends."""

    def size(self, path: str) -> int:
        """Return the size in bytes."""

    def mtime_ns(self, path: str) -> int:
        """Return the time of the last modification, in nanoseconds since 1970."""

    def exists(self, path: str) -> bool:
        """Tell if the name exists, whatever it names (a dangling symbolic link too)."""

    def is_dir(self, path: str) -> bool:
        """Tell if the name is a directory, not a link to one."""

    def names(self, path: str = "") -> list[str]:
        """List a directory, in no order; bytes that are not UTF-8 become surrogates."""

    def create(self, path: str, data: bytes) -> None:
        """Write a new file, not synced; FileExistsError if the name is taken.

        After a failure the name is gone again, as far as the disk lets us remove it.
        """

    def append(self, path: str, *, create: bool = False) -> AppendFile:
        """Open a file to append to; with `create` a new one, else FileExistsError."""

    def overwrite(self, path: str, data: bytes) -> None:
        """Make `data` the content of a small file, made if missing; neither atomic nor synced."""

    def allocate(self, path: str, size: int) -> None:
        """Give a new or existing file at least `size` bytes of space that is really there."""

    def rename(self, source: str, target: str) -> None:
        """Rename, over an existing target too (where ext4 then flushes the new data at once)."""

    def rename_new(self, source: str, target: str) -> None:
        """Rename to a free name, else FileExistsError and nothing changed."""

    def replace(self, source: str, target: str) -> None:
        """Put the file `source` at `target` atomically, without ext4's flush of its data.

        Where the target exists the two names are exchanged and the old file is unlinked at
        `source`; a crash in between leaves the old file under the source name.
        """

    def swap(self, source: str, target: str) -> bool:
        """As `replace`, but the old file stays, at `source`: True; False if there is none."""

    def refill(self, path: str, data: bytes) -> bool:
        """Make `data` the content of a file that nobody else has: no process, no other name.

        False, and nothing is changed, where that is not so or can't be known.  Neither atomic nor
        synced; much cheaper than a new file where files were removed a moment ago.
        """

    def unlink(self, path: str) -> None:
        """Remove a name of a file."""

    def set_mode(self, path: str, mode: int) -> None:
        """Give a regular file or a directory ("": the queue's own) these rights, durably."""

    def mkdir(self, path: str, *, exist_ok: bool = False) -> None:
        """Make a directory, not synced; its entry needs a `sync_dir` of the parent."""

    def sync_file(self, path: str) -> None:
        """Make the content of a file durable, though not its name."""

    def sync_dir(self, path: str = "") -> None:
        """Make the names in a directory durable, though not what the files hold."""

    def sync_all(self) -> None:
        """Make everything on the queue's file system durable (syncfs)."""

    def close(self) -> None:
        """Release all descriptors; open `AppendFile`s stay their owners'."""

    def write_file(self, path: str, data: bytes, *, new: bool) -> None:
        """Write a file that readers see whole or not at all, not synced.

        With `new` a taken name is a FileExistsError, without it the old file is replaced. A crash
        can leave a name that matches TEMP_NAME.
        """
        temp = temp_path(path)
        self.create(temp, data)
        try:
            if new:
                self.rename_new(temp, path)
            else:
                self.replace(temp, path)
        except OSError:
            with contextlib.suppress(OSError):
                self.unlink(temp)
            raise


def temp_path(path: str) -> str:
    """Return a fresh temporary name beside `path`; it matches TEMP_NAME."""
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}.tmp-{name}-{os.urandom(8).hex()}"


def split_path(path: str) -> tuple[str, str]:
    """Split "archive/0/job-1" into "archive/0" and "job-1"; ValueError unless the name is one."""
    directory, _, name = path.rpartition("/")
    if name in {"", ".", ".."} or "\0" in name or path[0] == "/":
        message = f"not a path inside the queue: {path!r}"
        raise ValueError(message)
    return directory, name


class _Descriptor:
    """A descriptor that is closed with its last user.

    A cache may drop it while another thread is between look-up and system call; were it closed
    there, the number could be reused and the call would hit a stranger's file.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class _RealAppendFile:
    def __init__(self, path: str, fd: int, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = fd
        self._end = size  # the known physical end; differs from size while the end is in doubt
        self._failed = False

    def write(self, data: bytes) -> None:
        assert self._end == self.size, "cut() comes before the next write"
        self._end = -1
        _write_all(self._fd, data, self.size)
        self.size += len(data)
        self._end = self.size

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
        self.sync()
        self._end = self.size

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
        self._root = _Descriptor(os.open(self.path, _DIRECTORY & ~os.O_NOFOLLOW))
        self.fd = self._root.fd
        status = os.fstat(self.fd)
        self._device = status.st_dev
        if file_mode is None:
            group_reads = status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IXGRP
            file_mode = GROUP_FILE if group_reads else PRIVATE_FILE
        self.file_mode = file_mode
        self._lock = threading.RLock()
        self._directories: OrderedDict[str, _Descriptor] = OrderedDict()
        self._overwritten: dict[str, _Descriptor] = {}
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
            self._root = _CLOSED
            self.fd = -1

    # Reading

    def read(self, path: str, limit: int) -> bytes:
        fd, status = self._open_regular(path, self._reading)
        try:
            if status.st_size > limit:
                raise FileTooLarge(errno.EFBIG, f"file is longer than {limit} bytes", path)
            # A read may be short, so only an empty one is the end of the file.
            data = os.read(fd, status.st_size + 1)
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
                _write_all(fd, data, 0)
            finally:
                os.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory.fd)
            raise

    def append(self, path: str, *, create: bool = False) -> AppendFile:
        if create:
            self.create(path, b"")
        fd, status = self._open_regular(path, _WRITE)
        return _RealAppendFile(path, fd, status.st_size)

    def overwrite(self, path: str, data: bytes) -> None:
        with self._lock:
            descriptor = self._overwritten.get(path) or self._open_or_create(path)
            _write_all(descriptor.fd, data, 0)
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
        error = self._rename_with(source, target, _RENAME_NOREPLACE)
        if error in _RENAME_FLAGS_UNSUPPORTED:
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
        error = self._rename_with(source, target, _RENAME_EXCHANGE)
        if error == errno.ENOENT:
            self.rename(source, target)
            return False
        if error in _RENAME_FLAGS_UNSUPPORTED:
            self.rename(source, target)
            self._exchange_works = False
            return False
        _raise_rename(error, source, target)
        self._forget(target)
        if self.is_dir(source):
            # The target was a directory, which rename would have refused; put it back.
            _raise_rename(self._rename_with(source, target, _RENAME_EXCHANGE), source, target)
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        return True

    def refill(self, path: str, data: bytes) -> bool:
        directory, name = self._locate(path)
        fd = os.open(name, _WRITE, dir_fd=directory.fd)
        try:
            status = os.fstat(fd)
            if not self._is_like_new(status) or not _is_nowhere_else(fd):
                return False
            _write_all(fd, data, 0)
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
        while _libc.syncfs(self._root.fd) != 0:
            error = ctypes.get_errno()
            if error != errno.EINTR:
                raise OSError(error, os.strerror(error), str(self.path))

    # Descriptors

    def _locate(self, path: str) -> tuple[_Descriptor, str]:
        directory, name = split_path(path)
        return (self._directory(directory) if directory else self._root), name

    def _directory(self, path: str) -> _Descriptor:
        if not path:
            return self._root
        with self._lock:
            found = self._directories.get(path)
            if found is not None:
                self._directories.move_to_end(path)
                return found
            parent, name = self._locate(path)
            opened = _Descriptor(os.open(name, _DIRECTORY, dir_fd=parent.fd))
            if os.fstat(opened.fd).st_dev != self._device:
                # A rename could not be atomic, and a sync of one would not reach the other.
                raise OSError(errno.EXDEV, "directory is on another file system", path)
            self._directories[path] = opened
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

    def _open_or_create(self, path: str) -> _Descriptor:
        with contextlib.suppress(FileExistsError):
            self.create(path, b"")
        return _Descriptor(self._open_regular(path, _WRITE)[0])

    def _rename_with(self, source: str, target: str, flags: int) -> int:
        """Call renameat2; return the errno, 0 for success."""
        if _renameat2 is None:
            return errno.ENOSYS
        from_directory, from_name = self._locate(source)
        to_directory, to_name = self._locate(target)
        result = _renameat2(
            from_directory.fd,
            os.fsencode(from_name),
            to_directory.fd,
            os.fsencode(to_name),
            flags,
        )
        return ctypes.get_errno() if result != 0 else 0


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


def _write_all(fd: int, data: bytes, offset: int) -> None:
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        chunk = os.pwrite(fd, memoryview(data)[written:], offset + written)
        if chunk == 0:
            raise OSError(errno.EIO, "write accepted nothing")
        written += chunk


def _is_nowhere_else(fd: int) -> bool:
    """Whether no other process, thread or mapping has the file open: then it can be leased.

    Let go at once: who opens it meanwhile, by its temporary name, is not waited for.  The signal
    that would tell of that is one that is ignored, not SIGIO, which ends a process.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _raise_rename(error: int, source: str, target: str) -> None:
    if error:
        raise OSError(error, os.strerror(error), source, None, target)


class _Closed(_Descriptor):
    def __init__(self) -> None:
        super().__init__(-1)

    def __del__(self) -> None:
        """Nothing is open."""


_CLOSED = _Closed()
