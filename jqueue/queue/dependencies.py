"""What the jobs that an opcode depends on have come to.

A status is recorded when the target ends, so that archive and prune can't change a verdict: in the
opcode's `dependencies` if it had ended when the dependent was submitted, else in `fate/ID`, which
`apply` keeps while somebody depends on it.
"""

from collections.abc import Mapping
from typing import Any

from jqueue.job.dependency import Verdict, dependencies_of, judge
from jqueue.job.failure import encode_error
from jqueue.job.state import LOST, Entry, Layer, Lookup
from jqueue.job.status import FINALIZED, JobStatus, calc_status
from jqueue.job.transitions import cancel, finish_updates, next_op
from jqueue.queue.answer import Answered, Reply, as_changes, reply
from jqueue.store.protocol import Decide, JobAt, live_document


def exists(state: Lookup, job: int) -> bool:
    """Whether the job is there, live or archived."""
    entry: Entry | None = state.find(job)
    return entry is not None and entry.document is not None


def status_of(state: Lookup, job: int) -> str:
    """The status of a job that somebody depends on: as recorded, else as it is, else `lost`."""
    fate = state.find(f"fate/{job}")
    if fate is not None:
        return str(fate)
    entry: Entry | None = state.find(job)
    if entry is None or entry.document is None:
        return LOST
    return calc_status(entry.document["ops"]).value


def final_statuses(state: Lookup, op: Mapping[str, Any]) -> dict[str, str]:
    """The statuses of those jobs that an opcode depends on and that have ended, by ID as text."""
    found = {str(target): status_of(state, target) for target, _ in dependencies_of(op)}
    return {target: status for target, status in found.items() if status in FINALIZED}


def statuses_for(state: Lookup, op: Mapping[str, Any]) -> dict[str, str]:
    """The statuses of all jobs that an opcode depends on, by ID as text, recorded ones first."""
    depends = dependencies_of(op)
    if not depends:
        return {}
    recorded = op.get("dependencies", {})
    return {
        str(target): recorded.get(str(target)) or status_of(state, target) for target, _ in depends
    }


def verdict_on(state: Lookup, op: Mapping[str, Any], job: int) -> tuple[Verdict, str]:
    """The verdict on the dependencies of an opcode of `job`, and what there is to say about it."""
    depends = dependencies_of(op)
    return judge(depends, statuses_for(state, op) if depends else {}, own_id=job)


def judge_dependencies(job: int, now: int) -> Decide:
    """End the job if the dependencies of its next opcode can't be met: canceled, or failed.

    The answer is the verdict; while it is WAIT or CONTINUE nothing changes, and the job stays
    queued: a job that waits for others, or for its time, is queued in our files, so that a restart
    has nothing to undo.  Raises JobNotFound.
    """

    def decide(layer: Layer) -> Reply:
        document = live_document(layer, job)
        at = next_op(document)
        if at is None:
            raise Answered(Verdict.CONTINUE)
        op = document["ops"][at]
        if op["status"] != JobStatus.QUEUED:
            raise Answered(Verdict.CONTINUE)
        verdict, text = verdict_on(layer, op, job)
        if verdict in (Verdict.WAIT, Verdict.CONTINUE):
            raise Answered(verdict)
        if verdict is Verdict.CANCEL:
            _, updates = cancel(document, now=now)
        else:
            updates = finish_updates(document, at, JobStatus.ERROR, encode_error(text), now)
        updates = [
            (place, {**values, "dependencies": statuses_for(layer, op)} if place == at else values)
            for place, values in updates
        ]
        pre = (JobAt(job, document.get("lsn")),)
        return reply(as_changes(job, updates), verdict, pre=pre, essential=True)

    return decide
