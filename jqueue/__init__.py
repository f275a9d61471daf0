"""jqueue: a durable job queue that lives in a directory."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from jqueue._version import __version__

if sys.platform != "linux" or sys.version_info < (3, 11):  # pragma: no cover - not where CI runs
    raise ImportError(
        "jqueue needs Linux and Python 3.11 or later,"
        f" this is {sys.platform} and Python {sys.version.split()[0]}"
    )

if TYPE_CHECKING:
    from jqueue.daemon.client import Client, connect
    from jqueue.daemon.jobqueue import JobQueue
    from jqueue.errors import (
        DiskFull,
        ForkedQueue,
        InvalidJob,
        JobNotFound,
        JQueueError,
        KeyConflict,
        OutcomeUnknown,
        QueueCorrupt,
        QueueDrained,
        QueueFailed,
        QueueFull,
        QueueLocked,
        SubmissionMismatch,
        TooLarge,
        WaitTimeout,
    )
    from jqueue.execution.context import Context
    from jqueue.execution.units import ResultWithJobs, logical_unit
    from jqueue.job.opcode import OpCode
    from jqueue.job.snapshot import Job, Op
    from jqueue.job.status import JobStatus
    from jqueue.job.transitions import Outcome
    from jqueue.queue.protocol import ArchiveCount, Claim, Queue, Submission

_ERRORS = (
    "DiskFull ForkedQueue InvalidJob JobNotFound JQueueError KeyConflict OutcomeUnknown"
    " QueueCorrupt QueueDrained QueueFailed QueueFull QueueLocked SubmissionMismatch TooLarge"
    " WaitTimeout"
)
_HOMES = {
    "jqueue.errors": _ERRORS,
    "jqueue.daemon.client": "Client connect",
    "jqueue.daemon.jobqueue": "JobQueue",
    "jqueue.execution.context": "Context",
    "jqueue.execution.units": "ResultWithJobs logical_unit",
    "jqueue.job.opcode": "OpCode",
    "jqueue.job.snapshot": "Job Op",
    "jqueue.job.status": "JobStatus",
    "jqueue.job.transitions": "Outcome",
    "jqueue.queue.protocol": "ArchiveCount Claim Queue Submission",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import jqueue` itself costs nothing."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'jqueue' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)


__all__ = [
    "ArchiveCount",
    "Claim",
    "Client",
    "Context",
    "DiskFull",
    "ForkedQueue",
    "InvalidJob",
    "JQueueError",
    "Job",
    "JobNotFound",
    "JobQueue",
    "JobStatus",
    "KeyConflict",
    "Op",
    "OpCode",
    "Outcome",
    "OutcomeUnknown",
    "Queue",
    "QueueCorrupt",
    "QueueDrained",
    "QueueFailed",
    "QueueFull",
    "QueueLocked",
    "ResultWithJobs",
    "Submission",
    "SubmissionMismatch",
    "TooLarge",
    "WaitTimeout",
    "__version__",
    "connect",
    "logical_unit",
]
