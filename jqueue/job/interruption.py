"""What becomes of an opcode whose process vanished: the policy recorded at its start decides."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from jqueue.job.change import Document
from jqueue.job.failure import encode_error
from jqueue.job.status import JobStatus
from jqueue.job.transitions import (
    DEFAULT_MAX_INTERRUPTIONS,
    Updates,
    cancel_final_updates,
    finish_updates,
    requeue_updates,
)


class Interruption(StrEnum):
    """What an interruption means for an opcode."""

    REQUEUE = "requeue"
    FAIL = "fail"
    UNKNOWN = "unknown"


PARKED_UNKNOWN = "unknown outcome: resolve"
"""Marks an opcode that ran at most once, and may or may not have had its effect."""


def interruption_updates(document: Document, op_index: int, now: int) -> Updates:
    """The running or canceling opcode's process is gone, and nothing of it is left.

    A canceled one becomes canceled; else by policy it is queued again (up to its limit), fails, or
    is set aside (waiting, with `parked` PARKED_UNKNOWN) until `resolve_updates`.
    """
    op = document["ops"][op_index]
    after = status_after(op)
    if after is JobStatus.CANCELED:
        return cancel_final_updates(document, now)
    count = op.get("interruptions", 0) + 1
    counted: dict[str, Any] = {"interruptions": count}
    if after is JobStatus.WAITING:
        values = {"status": "waiting", "parked": PARKED_UNKNOWN, **counted}
        if "locks" in op:
            values["locks"] = None
        return [(op_index, values)]
    if after is JobStatus.ERROR:
        if op.get("interruption") == Interruption.FAIL:
            error = encode_error("interrupted: the process that executed it ended without a result")
        else:
            limit = op.get("max_interruptions", DEFAULT_MAX_INTERRUPTIONS)
            error = encode_error(f"interrupted {count} times, more than its limit of {limit}")
        return _joined(op_index, counted, finish_updates(document, op_index, "error", error, now))
    return _joined(op_index, counted, requeue_updates(document, op_index))


def status_after(op: Mapping[str, Any], *, counted: bool = True) -> JobStatus:
    """What a running or canceling opcode becomes when its process is gone.

    Not `counted`: the interruption doesn't count against the opcode's limit.
    """
    if op["status"] == JobStatus.CANCELING:
        return JobStatus.CANCELED
    # An unknown policy is one of a later version: setting aside is safe, running again may not be.
    policy = op.get("interruption", Interruption.REQUEUE)
    if policy == Interruption.FAIL:
        return JobStatus.ERROR
    if policy != Interruption.REQUEUE:
        return JobStatus.WAITING
    count = op.get("interruptions", 0) + (1 if counted else 0)
    limit = op.get("max_interruptions", DEFAULT_MAX_INTERRUPTIONS)
    return JobStatus.ERROR if count > limit else JobStatus.QUEUED


def is_unresolved(op: dict[str, Any]) -> bool:
    """Say whether the opcode is set aside until a person says what happened."""
    return op["status"] == JobStatus.WAITING and op.get("parked") == PARKED_UNKNOWN


def resolve_updates(document: Document, op_index: int, *, happened: bool, now: int) -> Updates:
    """A person says whether the opcode that was set aside had its effect: success, or run it."""
    assert is_unresolved(document["ops"][op_index])
    if happened:
        return finish_updates(document, op_index, JobStatus.SUCCESS, None, now)
    return requeue_updates(document, op_index)


def _joined(op_index: int, values: dict[str, Any], updates: Updates) -> Updates:
    """The updates, with `values` set on the opcode too."""
    return [(at, {**changed, **values} if at == op_index else changed) for at, changed in updates]
