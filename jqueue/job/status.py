"""The statuses of jobs and opcodes, and how a job's follow from its opcodes'.

queued ──▶ waiting ──▶ running ──▶ success | error
   │          │           │ kill
   │          ▼           ▼
   └─────▶ canceled ◀─ canceling
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    """The status of a job, and of an opcode; equal to its text."""

    QUEUED = "queued"
    WAITING = "waiting"
    CANCELING = "canceling"
    RUNNING = "running"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"


FINALIZED = frozenset({JobStatus.CANCELED, JobStatus.SUCCESS, JobStatus.ERROR})
"""A finalized job never changes, except by archive and prune."""

OPEN = frozenset(JobStatus) - FINALIZED
"""An unfinished job."""

PRIORITY_HIGHEST = -20
PRIORITY_LOWEST = 19
PRIORITY_DEFAULT = 0
SUBMISSION_PRIORITIES = (-10, 0, 10)

_BY_TEXT: dict[str, JobStatus] = {status.value: status for status in JobStatus}
_DECIDING = frozenset({JobStatus.ERROR, JobStatus.CANCELING, JobStatus.CANCELED})


def calc_status(ops: Iterable[Mapping[str, Any]]) -> JobStatus:
    """The job's status: the first error, canceling or canceled opcode decides; else the last
    waiting or running one; else success if all are, else queued.
    """
    status: JobStatus | None = None
    all_succeeded = True
    for op in ops:
        of_op = _BY_TEXT[op["status"]]
        if of_op is JobStatus.SUCCESS:
            continue
        all_succeeded = False
        if of_op in _DECIDING:
            return of_op
        if of_op is not JobStatus.QUEUED:
            status = of_op
    if all_succeeded:
        return JobStatus.SUCCESS
    return status or JobStatus.QUEUED


def calc_priority(ops: Iterable[Mapping[str, Any]]) -> int:
    """The job's priority: the most urgent (lowest) of its unfinished opcodes, 0 if none is left."""
    urgent: int | None = None
    for op in ops:
        if op["status"] not in FINALIZED and (urgent is None or op["priority"] < urgent):
            urgent = op["priority"]
    return PRIORITY_DEFAULT if urgent is None else urgent


def parse_status(text: Any) -> JobStatus | None:
    """The status of this name, or None."""
    return _BY_TEXT.get(text) if isinstance(text, str) else None
