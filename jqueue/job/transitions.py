"""The rules by which jobs change: from a document to the values that the change sets.

Each rule is a pure function. It returns `Updates`, a list of (opcode index, or None for the job
itself; values to set), where None removes a key of ours. Times are in integer nanoseconds.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jqueue.errors import Refused
from jqueue.job.change import Document
from jqueue.job.dependency import Verdict, dependencies_of, judge
from jqueue.job.document import timestamp
from jqueue.job.failure import encode_error
from jqueue.job.reason import extend
from jqueue.job.status import (
    FINALIZED,
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    JobStatus,
    calc_status,
)

Updates = list[tuple[int | None, dict[str, Any]]]


class Outcome(NamedTuple):
    """Whether a request had its effect, and one line about it; false in a condition if not."""

    ok: bool
    text: str

    def __bool__(self) -> bool:
        return self.ok


DEFAULT_MAX_INTERRUPTIONS = 3
"""An opcode whose process vanished more often than this probably kills it."""

CANCELED_RESULT = "Job canceled by request"
PRECEDING_FAILED = {
    "status": "error",
    "result": encode_error("Preceding opcode failed"),
    "parked": None,
}


def unfinished(document: Document) -> list[int]:
    """The indexes of the opcodes that have not ended."""
    return [at for at, op in enumerate(document["ops"]) if op["status"] not in FINALIZED]


def next_op(document: Document) -> int | None:
    """The index of the opcode whose turn it is, or None if all ended."""
    for at, op in enumerate(document["ops"]):
        if op["status"] not in FINALIZED:
            return at
    return None


def cancel(document: Document, *, now: int, kill: bool = False) -> tuple[Outcome, Updates]:
    """Cancel: queued at once; waiting becomes canceling; running only with `kill`.

    Whoever finds a job canceling, with nothing of it running, applies `cancel_final_updates`.
    """
    job_id, status = document["id"], calc_status(document["ops"])
    if status in FINALIZED:
        return Outcome(False, f"Job {job_id} is finished"), []
    if status is JobStatus.CANCELING:
        return Outcome(True, f"Job {job_id} is being canceled already"), []
    pending = unfinished(document)
    if status is JobStatus.QUEUED:
        updates: Updates = [(at, _canceled(document["ops"][at], now)) for at in pending]
        updates.append((None, {"end_timestamp": timestamp(now)}))
        return Outcome(True, f"Job {job_id} canceled"), updates
    if status is JobStatus.RUNNING and not kill:
        return Outcome(False, f"Job {job_id} is running, can't cancel (kill can)"), []
    return (
        Outcome(True, f"Job {job_id} will be canceled"),
        [(at, {"status": "canceling"}) for at in pending],
    )


def cancel_final_updates(document: Document, now: int) -> Updates:
    """A canceling job becomes canceled: its canceling opcode and all later ones."""
    updates: Updates = [(at, _canceled(document["ops"][at], now)) for at in unfinished(document)]
    updates.append((None, {"end_timestamp": timestamp(now)}))
    return updates


def _canceled(op: Mapping[str, Any], now: int) -> dict[str, Any]:
    values: dict[str, Any] = {"status": "canceled", "result": CANCELED_RESULT}
    values |= {"locks": None, "parked": None}
    if op["exec_timestamp"] is not None:
        values["end_timestamp"] = timestamp(now)
    return _without_absent(values, op)


def change_priority(document: Document, priority: Any) -> tuple[Outcome, Updates]:
    """Give the opcodes that have not begun another priority."""
    job_id, ops = document["id"], document["ops"]
    if type(priority) is not int or not PRIORITY_HIGHEST <= priority <= PRIORITY_LOWEST:
        limits = f"from {PRIORITY_HIGHEST} to {PRIORITY_LOWEST}"
        return Outcome(False, f"Priority must be an integer {limits}, not {priority!r:.40}"), []
    status = calc_status(ops)
    if status in FINALIZED:
        return Outcome(False, f"Job {job_id} is finished"), []
    if status is JobStatus.CANCELING:
        return Outcome(False, f"Job {job_id} is cancelling"), []
    pending = [at for at in unfinished(document) if ops[at]["status"] != "running"]
    running = [at for at in unfinished(document) if ops[at]["status"] == "running"]
    if pending and running and min(pending) < max(running):
        return Outcome(
            False, f"Job {job_id} is inconsistent: a pending opcode before a running"
        ), []
    if not pending:
        return Outcome(False, f"Job {job_id} had no pending opcodes"), []
    values = {"priority": priority, "base_priority": None}
    return (
        Outcome(
            True,
            f"Priorities of pending opcodes for job {job_id} have been changed to {priority}",
        ),
        [(at, _without_absent(values, ops[at])) for at in pending],
    )


def age_updates(document: Document, op_index: int) -> Updates:
    """An opcode that couldn't get its locks in time becomes more urgent by one, up to the limit."""
    op = document["ops"][op_index]
    if op["priority"] <= PRIORITY_HIGHEST:
        return []
    values = {"priority": op["priority"] - 1, "base_priority": set_priority_of(op)}
    return [(op_index, values)]


def set_priority_of(op: Mapping[str, Any]) -> int:
    """The priority last set by somebody, without aging: what children inherit."""
    return int(op.get("base_priority", op["priority"]))


def wait_updates(document: Document, op_index: int, now: int) -> Updates:
    """A queued opcode begins to wait for locks or other jobs."""
    at = timestamp(now)
    updates: Updates = [(op_index, {"status": "waiting", "start_timestamp": at})]
    if document["start_timestamp"] is None:
        updates.append((None, {"start_timestamp": at}))
    return updates


def start_updates(  # noqa: PLR0913  # all that the record of a start says
    document: Document,
    op_index: int,
    now: int,
    *,
    livelock: str | None = None,
    process_id: int | None = None,
    interruption: str = "requeue",
    max_interruptions: int | None = None,
    locks: Any = None,
    recorded: Mapping[str, Any] | None = None,
) -> Updates:
    """An opcode begins to run; `apply` sets its token, the LSN of this record.

    What else is to be `recorded` stands in the opcode too.
    """
    op = document["ops"][op_index]
    at = timestamp(now)
    values: dict[str, Any] = {
        "status": "running",
        "start_timestamp": op["start_timestamp"] or at,
        "exec_timestamp": at,
        "attempts": op.get("attempts", 0) + 1,
        "interruption": interruption,
        "max_interruptions": (
            DEFAULT_MAX_INTERRUPTIONS if max_interruptions is None else max_interruptions
        ),
        "livelock": livelock,
        "locks": locks or None,
        "parked": None,
        "retry_at": None,
        **(recorded or {}),
    }
    of_job: dict[str, Any] = {}
    if document["start_timestamp"] is None:
        of_job["start_timestamp"] = at
    if livelock is not None or process_id is not None:
        of_job["livelock"], of_job["process_id"] = livelock, process_id
    updates: Updates = [(op_index, _without_absent(values, op))]
    if of_job:
        updates.append((None, of_job))
    return updates


def finish_updates(
    document: Document, op_index: int, status: JobStatus | str, result: Any, now: int
) -> Updates:
    """An opcode ends with success or error; after an error the remaining ones end too."""
    ops = document["ops"]
    assert status in (JobStatus.SUCCESS, JobStatus.ERROR), status
    ended = timestamp(now)
    values = {
        "status": str(status),
        "result": result,
        "end_timestamp": ended,
        "locks": None,
        "parked": None,
    }
    updates: Updates = [(op_index, _without_absent(values, ops[op_index]))]
    later = [at for at in unfinished(document) if at > op_index]
    if status == JobStatus.ERROR:
        updates += [(at, _without_absent(PRECEDING_FAILED, ops[at])) for at in later]
    if status == JobStatus.ERROR or not later:
        updates.append((None, {"end_timestamp": ended}))
    return updates


def requeue_updates(
    document: Document,
    op_index: int,
    *,
    counted: bool = True,
    retry_at: float | None = None,
) -> Updates:
    """An opcode that had begun (or waited) is queued again.

    Not before `retry_at`, a Unix time in seconds; not `counted`: as if the attempt had not been.
    """
    op = document["ops"][op_index]
    attempts = op.get("attempts", 0)
    values: dict[str, Any] = {
        "status": "queued",
        "exec_timestamp": None,
        "start_timestamp": None,
        "token": None,
        "livelock": None,
        "locks": None,
        "parked": None,
        "progress": None,
        "retry_at": retry_at,
    }
    if not counted and op["status"] in (JobStatus.RUNNING, JobStatus.CANCELING):
        values["attempts"] = max(attempts - 1, 0) or None
    return [(op_index, _without_absent(values, op))]


def not_before(op: Mapping[str, Any]) -> float:
    """The Unix time, in seconds, before which its submitter lets it not start; 0 if there is none.

    When a failed attempt is repeated is another matter: see `retry_at`.
    """
    given = op["input"].get("not_before") if isinstance(op["input"], dict) else None
    return float(given or 0)


def retry_at(op: Mapping[str, Any]) -> float:
    """The Unix time, in seconds, at which a failed attempt is to be repeated; 0 if none is.

    It tells people, and the scheduler of a later owner.  Backoffs are counted on a steady clock, so
    that no rule depends on this one.
    """
    return float(op.get("retry_at", 0))


def archivable(document: Document) -> Outcome:
    """Whether the job may be archived: if it is finalized."""
    status = calc_status(document["ops"])
    if status in FINALIZED:
        return Outcome(True, f"Job {document['id']} is finished")
    return Outcome(False, f"Job {document['id']} is not finished, but {status.value}")


def finished_at(document: Document) -> float | None:
    """When a finalized job ended, in Unix seconds: the latest that its file knows."""
    for name in ("end_timestamp", "start_timestamp", "received_timestamp"):
        known = document.get(name)
        if known is not None:
            return float(known[0] + known[1] / 1e6)
    return None


def retry_inputs(
    document: Document, *, from_failed: bool = False, now: int
) -> list[dict[str, Any]]:
    """The inputs of a job that repeats this one, all or from the first unsuccessful opcode.

    Dependencies that were met are dropped. Raises Refused if the job is not finished, or has
    nothing to repeat.
    """
    job_id, ops = document["id"], document["ops"]
    outcome = archivable(document)
    if not outcome:
        raise Refused(f"can't retry: {outcome.text}")
    if from_failed:
        ops = [op for op in ops if op["status"] != JobStatus.SUCCESS]
    if not ops:
        raise Refused(f"can't retry: job {job_id} has no unsuccessful opcode")
    if not all(isinstance(op["input"], dict) and "OP_ID" in op["input"] for op in ops):
        raise Refused(f"can't retry: job {job_id} has an opcode without OP_ID")
    return [_retry_input(op, job_id, now) for op in ops]


def _retry_input(op: Mapping[str, Any], job_id: int, now: int) -> dict[str, Any]:
    trail = extend(op["input"].get("reason"), "jqueue:retry", f"job={job_id}", now)
    again = {**op["input"], "reason": trail}
    depends = dependencies_of(op)
    if depends:
        recorded = op.get("dependencies", {})
        again["depends"] = [
            entry for entry in depends if judge([entry], recorded)[0] is not Verdict.CONTINUE
        ]
    return again


def _without_absent(values: Mapping[str, Any], op: Mapping[str, Any]) -> dict[str, Any]:
    """The values, without the removal of keys that the opcode doesn't have: records stay small."""
    return {name: value for name, value in values.items() if value is not None or name in op}
