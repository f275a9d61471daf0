"""What a caller is told when the disk fails, and nothing that was acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

from jqueue.errors import DiskFull, JQueueError, QueueFailed
from jqueue.store.ledger import FULL_ERRNOS


def disk_failed(path: Path, error: OSError) -> JQueueError:
    """Return DiskFull or QueueFailed for an error of the disk."""
    if error.errno in FULL_ERRNOS:
        return DiskFull(f"{path}: no space left; what was acknowledged is kept", path=str(path))
    return QueueFailed(
        f"{path}: {error.strerror or error}; what was acknowledged is kept", path=str(path)
    )
