"""Why a job is not running: everything that holds it back, as far as the queue itself knows.

Locks, limits, workers and unknown kinds are added by the floors that know of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jqueue.job.change import Document
from jqueue.job.dependency import Verdict, dependencies_of
from jqueue.job.state import Lookup
from jqueue.job.status import FINALIZED, JobStatus, calc_status
from jqueue.job.transitions import next_op, not_before
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.dependencies import statuses_for, verdict_on

Reasons = list[dict[str, Any]]


def explain(state: Lookup, document: Document, now: int) -> Reasons:
    """Return `{"reason", "text", …}` for each thing that there is to say; never empty."""
    job, ops = document["id"], document["ops"]
    status = calc_status(ops)
    at = next_op(document)
    if status in FINALIZED or at is None:
        return [_reason("finalized", f"job {job} has ended: {status.value}", status=status.value)]
    op = ops[at]
    if op["status"] == JobStatus.RUNNING:
        return [_reason("running", f"opcode {at} is running", op=at)]
    if op["status"] == JobStatus.CANCELING:
        return [_reason("canceling", "it is canceled as soon as its process has ended", op=at)]
    reasons = _holding(state, job, op, now)
    return reasons or [_reason("ready", "it starts when its turn comes and a worker is free")]


def _holding(state: Lookup, job: int, op: Mapping[str, Any], now: int) -> Reasons:
    reasons: Reasons = []
    pause = state.find("pause")
    if pause is not None:
        why = f": {pause['reason']}" if pause.get("reason") else ""
        reasons.append(_reason("paused", f"the queue is paused{why} (jqueue resume)"))
    if op.get("parked"):
        text = f"it is set aside: {op['parked']} (jqueue resolve {job} --happened | --did-not)"
        reasons.append(_reason("parked", text))
    elif op["status"] == JobStatus.WAITING:
        reasons.append(_reason("locks", "it waits for resource locks"))
    reasons += _dependencies(state, job, op)
    earliest = not_before(op)
    if earliest * NS_PER_S > now:
        when = datetime.fromtimestamp(earliest, UTC).isoformat(timespec="seconds")
        again = op.get("retry_at") == earliest
        why = "it failed and is tried again" if again else "it may start"
        reasons.append(_reason("not_before", f"{why} not before {when}", not_before=earliest))
    return reasons


def _dependencies(state: Lookup, job: int, op: Mapping[str, Any]) -> Reasons:
    statuses = statuses_for(state, op)
    pending = [
        _reason("dependency", f"it waits for job {target}, which is {status}", job=int(target))
        for target, status in statuses.items()
        if status not in FINALIZED
    ]
    verdict, text = verdict_on(state, op, job)
    if dependencies_of(op) and verdict not in (Verdict.WAIT, Verdict.CONTINUE):
        pending.append(_reason("dependency", text))
    return pending


def _reason(reason: str, text: str, **facts: Any) -> dict[str, Any]:
    return {"reason": reason, "text": text, **facts}
