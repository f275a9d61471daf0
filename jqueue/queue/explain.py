"""Why a job is not running: everything that holds it back, as far as the queue itself knows.

Each reason is `{"reason", "text", "until", …}`: a word, a line about it, and the first event that
would lift it (None: nothing will).  Locks and their holders, limits, workers, kinds and the jobs
before it are added by the floor that knows of them (`execution.explaining`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jqueue.job.change import Document
from jqueue.job.dependency import Verdict, dependencies_of
from jqueue.job.state import Lookup
from jqueue.job.status import FINALIZED, JobStatus, calc_status
from jqueue.job.transitions import next_op, not_before, retry_at
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.dependencies import statuses_for, verdict_on

Reasons = list[dict[str, Any]]


def explain(state: Lookup, document: Document, now: int) -> Reasons:
    """Return what there is to say, what holds it back first; never empty."""
    job, ops = document["id"], document["ops"]
    status = calc_status(ops)
    at = next_op(document)
    if status in FINALIZED or at is None:
        text = f"job {job} has ended: {status.value}"
        return [reason_of("finalized", text, None, status=status.value)]
    op = ops[at]
    if op["status"] == JobStatus.RUNNING:
        return [reason_of("running", f"opcode {at} is running", "it ends", op=at)]
    if op["status"] == JobStatus.CANCELING:
        text = "it is canceled as soon as its process has ended"
        return [reason_of("canceling", text, "its process ends", op=at)]
    reasons = _holding(state, job, op, now)
    if not reasons:
        text = "it starts when its turn comes and a worker is free"
        reasons.append(reason_of("ready", text, "a worker is free"))
    return reasons + _remarks(state)


def without_owner(reasons: Reasons) -> Reasons:
    """Return the reasons for a queue that nobody serves now."""
    if reasons[0]["reason"] == "finalized":
        return reasons
    nobody = reason_of("owner", "nobody runs this queue now", "jqueue daemon, or run, is started")
    return [*(one for one in reasons if one["reason"] != "ready"), nobody]


def _holding(state: Lookup, job: int, op: Mapping[str, Any], now: int) -> Reasons:
    reasons: Reasons = []
    pause = state.find("pause")
    if pause is not None:
        text = f"the queue is paused{_said(pause)} (jqueue resume)"
        reasons.append(reason_of("paused", text, "the queue is resumed"))
    if op.get("parked"):
        text = f"it is set aside: {op['parked']} (jqueue resolve {job} --happened | --did-not)"
        reasons.append(reason_of("parked", text, "somebody says what happened"))
    elif op["status"] == JobStatus.WAITING:
        reasons.append(reason_of("locks", "it waits for resource locks", "their holders end"))
    reasons += _dependencies(state, job, op)
    for name, why, at_s in (
        ("not_before", "it may start", not_before(op)),
        ("retry", "it failed and is tried again", retry_at(op)),
    ):
        if at_s * NS_PER_S > now:
            when = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds")
            reasons.append(reason_of(name, f"{why} not before {when}", when, at=at_s))
    return reasons


def _dependencies(state: Lookup, job: int, op: Mapping[str, Any]) -> Reasons:
    statuses = statuses_for(state, op)
    pending = []
    for target, status in statuses.items():
        if status not in FINALIZED:
            text = f"it waits for job {target}, which is {status}"
            pending.append(reason_of("dependency", text, f"job {target} ends", job=int(target)))
    verdict, text = verdict_on(state, op, job)
    if dependencies_of(op) and verdict not in (Verdict.WAIT, Verdict.CONTINUE):
        pending.append(reason_of("dependency", text, "it ends because of that"))
    return pending


def _remarks(state: Lookup) -> Reasons:
    """What holds nothing back, but may be what somebody looks for."""
    drain = state.find("drain")
    if drain is None:
        return []
    text = f"the queue takes no new jobs{_said(drain)}; those that it has go on (jqueue undrain)"
    return [reason_of("drained", text, "the queue is undrained")]


def _said(flag: Mapping[str, Any]) -> str:
    reason, by = flag.get("reason"), flag.get("by")
    return (f" by {by}" if by else "") + (f": {reason}" if reason else "")


def reason_of(reason: str, text: str, until: str | None, **facts: Any) -> dict[str, Any]:
    """Return one reason."""
    return {"reason": reason, "text": text, "until": until, **facts}
