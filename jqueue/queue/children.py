"""Jobs that logical units submit: what they inherit, and the memory of what was submitted.

The memory is the parent's `submissions`: for each call, by `OP:CALL`, the digest of its jobs and
the answer, refusals included.  It outlives interruptions and attempts, so a re-run gets the answers
of the first run and submits nothing twice.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jqueue.errors import InvalidJob, SubmissionMismatch
from jqueue.job.change import Document, JobSet
from jqueue.job.state import Layer
from jqueue.job.status import JobStatus
from jqueue.job.summary import INVALID_OP
from jqueue.job.transitions import set_priority_of
from jqueue.queue.answer import Answered, Reply, reply
from jqueue.queue.entries import Check, Entry, check_name, digest_of, prepare_many
from jqueue.queue.protocol import AnyOp, Submission
from jqueue.queue.running import running
from jqueue.queue.submission import MAX_LIVE_JOBS, Placed, Terms, place
from jqueue.store.protocol import Decide, OpIs, drained

MAX_CALLS = 10_000
"""Remembered submissions of one job: each is rewritten with the next one's record."""


def submit_children(  # noqa: PLR0913  # a submission's independent parts
    job: int,
    op_index: int,
    token: int,
    *,
    call: str,
    jobs: Iterable[Iterable[AnyOp]],
    now: int,
    digest: str | None = None,
    max_live_jobs: int = MAX_LIVE_JOBS,
    check: Check | None = None,
) -> Decide:
    """Submit the jobs of one call in mid-execution; the answer is a list of `Submission`.

    `call` is the call's name or ordinal, `digest` tells its content (that of the jobs, if None).
    Raises InvalidJob now; the rule raises Refused unless the opcode runs under `token`, and
    SubmissionMismatch if the same call came with other content before.
    """
    if check_name(call, "call") is None:
        raise InvalidJob("a submission needs a name or an ordinal", field="call")
    entries = prepare_many(jobs, check)
    known_by = digest_of(entries) if digest is None else digest

    def decide(layer: Layer) -> Reply:
        document = running(layer, job, op_index, token)
        memory = document.get("submissions") or {}
        name = f"{op_index}:{call}"
        known = memory.get(name)
        if known is not None:
            if known["digest"] != known_by:
                raise _mismatch(job, op_index, call)
            raise Answered([Submission(ok, value) for ok, value in known["jobs"]])
        if len(memory) >= MAX_CALLS:
            raise InvalidJob(f"job {job} has submitted {MAX_CALLS} times, as often as a job may")
        terms = Terms(now, max_live_jobs, {"job": job, "op": op_index})
        placed = place_children(layer, document, op_index, entries, terms)
        answers = [list(answer) for answer in placed.answers]
        memo = {**memory, name: {"digest": known_by, "jobs": answers}}
        return reply(
            [*placed.changes, JobSet(job, {"submissions": memo})],
            placed.answers,
            pre=(OpIs(job, op_index, (JobStatus.RUNNING,), token),),
        )

    return decide


def place_children(
    layer: Layer, parent: Document, op_index: int, entries: list[Entry], terms: Terms
) -> Placed:
    """Place the jobs that an opcode submits, with what they inherit from it.

    A drained queue refuses all entries, each for itself: the opcode goes on.
    """
    flag = layer.find("drain")
    if flag is not None:
        refusal = drained(flag)
        entries = [
            entry if entry.refusal is not None else entry._replace(refusal=refusal)
            for entry in entries
        ]
    inherit = inheritance(parent["ops"][op_index])
    heirs = [entry._replace(inputs=[inherit(given) for given in entry.inputs]) for entry in entries]
    return place(layer, heirs, terms)


def inheritance(parent: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """What completes an opcode's input by what it inherits from the opcode that submits it.

    Comment, reason trail, and the priority last set by somebody (not the aged one), each where the
    child has none.
    """
    given = parent["input"] if isinstance(parent["input"], dict) else {}
    inherited = {
        "comment": f"Submitted by {given.get('OP_ID', INVALID_OP)}",
        "reason": given.get("reason"),
        "priority": set_priority_of(parent) or None,
    }
    inherited = {name: value for name, value in inherited.items() if value is not None}

    def inherit(child: Mapping[str, Any]) -> dict[str, Any]:
        missing = {
            name: value for name, value in inherited.items() if child.get(name) in (None, "", [])
        }
        return {**child, **missing}

    return inherit


def _mismatch(job: int, op_index: int, call: str) -> SubmissionMismatch:
    return SubmissionMismatch(
        f"opcode {op_index} of job {job} submits other jobs under call {call!r:.80} than in an"
        " earlier run; nothing was submitted",
        job_id=job,
        op_index=op_index,
        call=call,
    )
