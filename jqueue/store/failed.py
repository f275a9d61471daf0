"""What a caller is told when the disk fails."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from jqueue.errors import DiskFull, JQueueError, OutcomeUnknown, QueueFailed

FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def disk_failed(path: Path, error: OSError) -> JQueueError:
    """Return DiskFull or QueueFailed for an error that takes nothing that was acknowledged."""
    if error.errno in FULL_ERRNOS:
        return DiskFull(f"{path}: no space left; what was acknowledged is kept", path=str(path))
    return QueueFailed(
        f"{path}: {error.strerror or error}; what was acknowledged is kept", path=str(path)
    )


def append_failed(path: str, error: OSError) -> JQueueError:
    """Return DiskFull or QueueFailed for a record that could not be appended, and was cut off."""
    if error.errno in FULL_ERRNOS:
        made: JQueueError = DiskFull(
            f"{path}: no space for the journal; nothing was changed", path=path
        )
    else:
        text = f"{path}: journal append failed ({error.strerror}); nothing was changed"
        made = QueueFailed(text, path=path)
    made.__cause__ = error
    return made


def outcome_unknown(path: str, what: str, error: OSError) -> OutcomeUnknown:
    """Return what everybody is told once it is not known what became of the last changes."""
    made = OutcomeUnknown(
        f"{path}: {what} ({error.strerror}); whether the last changes happened is not"
        " known, reopen the queue and look",
        path=path,
    )
    made.__cause__ = error
    return made
