"""What an operator wants to know of a queue's directory and its engine, in plain numbers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from jqueue.store.files import QUARANTINE

if TYPE_CHECKING:
    from jqueue.store.directory import DirectoryStore


def engine(store: DirectoryStore) -> dict[str, Any]:
    """Return how an open queue does; any thread, and nothing is waited for."""
    ledger, journal, error = store.ledger, store.journal, store.checkpointer.error
    return {
        "lsn": ledger.durable_lsn,
        "durability": store.durability,
        "journal_bytes": journal.unretired_bytes,
        "journal_limit_bytes": store.room.max_journal_bytes,
        "segments": 1 + len(journal.closed),
        "reflects": journal.reflects,
        "files_behind": store.files.behind,
        "files_behind_limit": store.room.max_unwritten,
        "reserve": "spent" if journal.reserve_spent else "whole",
        "syncs": {"journal": journal.syncs, "files": store.files.syncs},
        "commit_latency": {"counts": [*ledger.latency.counts], "sum_s": ledger.latency.sum_s},
        "checkpoint_error": None if error is None else str(error),
        "failure": None if ledger.failure is None else str(ledger.failure),
    }


def place(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return how much room the directory's file system has, and how many files were set aside.

    With an owner or without; what can't be read is None.
    """
    free: int | None = None
    size: int | None = None
    quarantined: int | None = 0
    with contextlib.suppress(OSError):
        space = os.statvfs(path)
        free, size = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    try:
        quarantined = len(os.listdir(os.path.join(path, QUARANTINE)))
    except FileNotFoundError:
        pass
    except OSError:
        quarantined = None
    return {"disk_free_bytes": free, "disk_size_bytes": size, "quarantined": quarantined}
