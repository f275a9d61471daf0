"""System calls that Python does not have, or has too bare, for `realdisk`."""

import ctypes
import errno
import fcntl
import os
import signal

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_FLAGS_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

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


class Descriptor:
    """A descriptor that is closed with its last user.

    A cache may drop it while another thread is between look-up and system call; were it closed
    there, the number could be reused and the call would hit a stranger's file.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class _Closed(Descriptor):
    def __init__(self) -> None:
        super().__init__(-1)

    def __del__(self) -> None:
        """Nothing is open."""


CLOSED = _Closed()
"""Stands for the descriptor of a disk that was closed."""


def rename_with(from_fd: int, source: str, to_fd: int, target: str, flags: int) -> int:
    """Call renameat2; return the errno, 0 for success."""
    if _renameat2 is None:
        return errno.ENOSYS
    result = _renameat2(from_fd, os.fsencode(source), to_fd, os.fsencode(target), flags)
    return ctypes.get_errno() if result != 0 else 0


def sync_file_system(fd: int) -> None:
    """Make everything on the file system of `fd` durable.  Raises OSError."""
    while _libc.syncfs(fd) != 0:
        error = ctypes.get_errno()
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error))


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, however many calls that takes."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        chunk = os.pwrite(fd, memoryview(data)[written:], offset + written)
        if chunk == 0:
            raise OSError(errno.EIO, "write accepted nothing")
        written += chunk


def is_nowhere_else(fd: int) -> bool:
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
