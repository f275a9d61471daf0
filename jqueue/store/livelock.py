"""Livelocks: lock files by which the kernel itself says whether an execution is still alive.

A livelock belongs to one execution or one claim.  Whoever executes holds an exclusive `flock` on
it, which every process that inherits the descriptor keeps too; the kernel releases it when the last
of them is gone, however it died.  So nobody is declared dead by a clock.

Names are random and never used twice: a lock that is free once is free for ever.  The files hold
nothing and nothing about them is synced; after a power cut a missing one is a free one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable
from typing import Final, NamedTuple

DIRECTORY: Final = "livelocks"

_NAME = re.compile(r"[a-z]{1,16}-[0-9]{1,10}-[0-9a-f]{24}", re.ASCII)
_RANDOM_BYTES: Final = 12
_OPEN: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Livelock(NamedTuple):
    """A held livelock; children that inherit `fd` hold it too."""

    name: str
    fd: int
    inode: int
    """Tells this file from one of the same name in a copied directory."""


class Place(NamedTuple):
    """Which file it is, among those of the same name in copies of its directory."""

    inode: int
    device: int
    """A snapshot of a file system has the same inodes, on another device."""


def is_name(name: object) -> bool:
    """Say whether `name` can be that of a livelock of ours (Ganeti's are other files elsewhere)."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def take(queue_fd: int, kind: str, *, renewed: str | None = None) -> Livelock:
    """Make a livelock of a new name, below the queue directory `queue_fd`, and hold it.

    Its descriptor is inherited by forked and by exec'd children, as far as their makers let it.
    A name that is `renewed` is as good as a new one, if its file is still there.
    """
    made = None if renewed is None else _try_hold(queue_fd, renewed)
    while made is None:
        made = _try_take(queue_fd, _new_name(kind))
    return made


def renew(queue_fd: int, kind: str, old: str) -> str | None:
    """Give the file of `old`, a livelock that was let go of, a new name, for the next to be taken.

    Where many files were removed a moment ago, making one costs several times as much.  None, and
    the file is removed, if somebody else holds it.
    """
    fd = _open(queue_fd, old)
    if fd is None:
        return None
    name = _new_name(kind)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            paths = f"{DIRECTORY}/{old}", f"{DIRECTORY}/{name}"
            os.rename(*paths, src_dir_fd=queue_fd, dst_dir_fd=queue_fd)
            return name
    except OSError:
        # A process that inherited the old descriptor holds it still, or somebody cleans up.
        remove(queue_fd, old)
    finally:
        os.close(fd)
    return None


def _new_name(kind: str) -> str:
    return f"{kind}-{os.getpid()}-{os.urandom(_RANDOM_BYTES).hex()}"


def _try_take(queue_fd: int, name: str) -> Livelock | None:
    """Take the livelock, or None if somebody who cleans up came between making and locking it."""
    assert is_name(name), name
    path = f"{DIRECTORY}/{name}"
    flags = _OPEN | os.O_CREAT | os.O_EXCL
    try:
        fd = os.open(path, flags, 0o600, dir_fd=queue_fd)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(DIRECTORY, 0o700, dir_fd=queue_fd)
        fd = os.open(path, flags, 0o600, dir_fd=queue_fd)
    return _hold(name, fd)


def _try_hold(queue_fd: int, name: str) -> Livelock | None:
    """Take the livelock whose file is there, or None if somebody who cleans up came before."""
    fd = _open(queue_fd, name)
    return None if fd is None else _hold(name, fd)


def _hold(name: str, fd: int) -> Livelock | None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(fd)
        if found.st_nlink:
            os.set_inheritable(fd, True)
            return Livelock(name, fd, found.st_ino)
    except BlockingIOError:
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def release(queue_fd: int, livelock: Livelock) -> None:
    """Remove the file and let go of the lock, once nothing depends on it any more."""
    remove(queue_fd, livelock.name)
    os.close(livelock.fd)


def remove(queue_fd: int, name: str) -> None:
    """Remove the file of a livelock on which nothing depends any more."""
    with contextlib.suppress(OSError):
        os.unlink(f"{DIRECTORY}/{name}", dir_fd=queue_fd)


def is_free(queue_fd: int, name: str, *, inode: int | None = None) -> bool:
    """Say whether no process holds the livelock; a missing one, or one of another inode, is free.

    Raises OSError when that can't be found out.
    """
    fd = _open(queue_fd, name)
    if fd is None:
        return True
    try:
        if inode is not None and os.fstat(fd).st_ino != inode:
            return True
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    finally:
        os.close(fd)
    return True


def waiter(queue_fd: int, name: str) -> Callable[[], None]:
    """Return what blocks until no process holds the livelock; it is opened now, and needs
    `queue_fd` no more.
    """
    fd = _open(queue_fd, name)

    def wait() -> None:
        if fd is not None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
            finally:
                os.close(fd)

    return wait


def place_of(queue_fd: int, name: str) -> Place | None:
    """Return which file a livelock is, or None if it is missing."""
    if not is_name(name):
        return None
    try:
        found = os.stat(f"{DIRECTORY}/{name}", dir_fd=queue_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return Place(found.st_ino, found.st_dev)


def inode_of(queue_fd: int, name: str) -> int | None:
    """Return the inode of a livelock's file, or None if it is missing."""
    found = place_of(queue_fd, name)
    return None if found is None else found.inode


def remove_free(queue_fd: int, needed: frozenset[str] = frozenset()) -> list[str]:
    """Remove the files of livelocks that nobody holds, except those `needed`; return their names.

    The caller owns the queue.  A file whose name is not ours is left alone.
    """
    try:
        fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=queue_fd)
    except FileNotFoundError:
        return []
    try:
        names = os.listdir(fd)
    finally:
        os.close(fd)
    ours = [name for name in names if is_name(name) and name not in needed]
    return [name for name in ours if _remove_if_free(queue_fd, name)]


def holders(queue_fd: int, kind: str) -> set[int]:
    """Return the processes that made the livelocks of this kind that are there."""
    try:
        fd = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=queue_fd)
    except FileNotFoundError:
        return set()
    try:
        names = os.listdir(fd)
    finally:
        os.close(fd)
    parts = [name.split("-") for name in names if is_name(name)]
    return {int(pid) for found, pid, _ in parts if found == kind}


def _remove_if_free(queue_fd: int, name: str) -> bool:
    fd = _open(queue_fd, name)
    if fd is None:
        return False
    try:
        # Unlinked while it is locked: its maker locks a moment after making it, and then finds
        # the lock taken instead of holding a file that is gone.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(f"{DIRECTORY}/{name}", dir_fd=queue_fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _open(queue_fd: int, name: str) -> int | None:
    if not is_name(name):
        return None
    try:
        return os.open(f"{DIRECTORY}/{name}", _OPEN, dir_fd=queue_fd)
    except FileNotFoundError:
        return None
