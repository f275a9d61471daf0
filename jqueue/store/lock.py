"""Who owns the queue: one process, by a lock that the kernel releases with it.

The lock is the file `lock`, never unlinked, never a soft lock; `owner` beside it says who holds it,
as a hint for people and for the error message only.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import Any, Final

import orjson

from jqueue.errors import QueueLocked
from jqueue.store.disk import Disk
from jqueue.store.processes import myself
from jqueue.store.realdisk import QuietDisk

LOCK: Final = "lock"
OWNER: Final = "owner"
MAX_OWNER_BYTES: Final = 4096
"""Many times what `write_owner` writes."""

_F_SETSIG: Final = 10
"""Linux's fcntl.h; Python has no name for it."""


class QueueLock:
    """The queue's lock, held from construction until `release`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Take the lock, waiting up to `timeout_s`; raises QueueLocked naming the holder."""
        import filelock  # noqa: PLC0415 - readers take no lock, and start sooner

        self._lock = filelock.FileLock(
            path / LOCK,
            timeout=max(timeout_s, 0),
            thread_local=False,
            fallback_to_soft=False,
            preserve_lock_file=True,
            poll_interval=0.02,
        )
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            holder = read_owner(path)
            who = f"process {holder['pid']}" if holder else "another process"
            raise QueueLocked(
                f"{path}: the queue is owned by {who}; nothing was changed,"
                " talk to it through its socket or wait",
                path=str(path),
                holder=holder,
            ) from error

    def release(self) -> None:
        """Let another process own the queue."""
        self._lock.release(force=True)


def write_owner(disk: Disk) -> None:
    """Say who owns the queue."""
    owner = myself()
    facts = {"pid": owner.pid, "start_time": owner.start_time, "boot_id": owner.boot_id}
    disk.overwrite(OWNER, orjson.dumps(facts) + b"\n")


def read_owner(path: Path) -> dict[str, Any] | None:
    """Return who last said that it owns the queue, or None; the process may be gone."""
    try:
        with QuietDisk(path) as disk:
            facts = orjson.loads(disk.read(OWNER, MAX_OWNER_BYTES))
    except (OSError, orjson.JSONDecodeError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("pid"), int) else None


def is_owned(path: Path) -> bool:
    """Say whether some process holds the lock, without taking it.

    Two witnesses: /proc/locks (proc(5)), which names the inodes that processes of our own pid
    namespace have locked; and whether anybody, in whatever namespace, has the file open to write,
    as who holds the lock has.
    """
    try:
        fd = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_open_to_write(fd) or _is_locked(os.fstat(fd))
    finally:
        os.close(fd)


def _is_open_to_write(fd: int) -> bool:
    """Say whether a read lease is refused because of a writer; False where leases can't tell.

    The lease (fcntl(2)) is given back at once: an owner that opens the file just then waits for
    that long, and its arrival is told to us by a signal that is ignored.
    """
    try:
        fcntl.fcntl(fd, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_locked(status: os.stat_result) -> bool:
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any(
        fields[1] == "FLOCK" and device in fields
        for fields in (line.split() for line in locks.splitlines())
        if len(fields) > 1
    )
