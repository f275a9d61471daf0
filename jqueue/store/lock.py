"""Who owns the queue: one process, by a lock that the kernel releases with it.

The lock is the file `lock`, never unlinked, never a soft lock; `owner` beside it says who holds it,
as a hint for people and for the error message only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import filelock
import orjson

from jqueue.errors import QueueLocked
from jqueue.store.disk import Disk
from jqueue.store.processes import myself

LOCK: Final = "lock"
OWNER: Final = "owner"


class QueueLock:
    """The queue's lock, held from construction until `release`."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Take the lock, waiting up to `timeout_s`; raises QueueLocked naming the holder."""
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
        facts = orjson.loads((path / OWNER).read_bytes()[:4096])
    except (OSError, orjson.JSONDecodeError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("pid"), int) else None


def is_owned(path: Path) -> bool:
    """Say whether some process holds the lock, without touching it.

    Reads /proc/locks (proc(5)), where each lock names its inode; False where that can't be read.
    """
    try:
        status = (path / LOCK).stat()
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any(
        fields[1] == "FLOCK" and device in fields
        for fields in (line.split() for line in locks.splitlines())
        if len(fields) > 1
    )
