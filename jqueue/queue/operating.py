"""What a person asks of a job or of the queue: cancel, priority, retry, resolve, archive, flags."""

from collections.abc import Iterable
from typing import Any

from jqueue.errors import InvalidJob, JobNotFound
from jqueue.job.change import Archived, Change, Document, DrainSet, PauseSet, Pruned
from jqueue.job.interruption import is_unresolved, resolve_updates
from jqueue.job.pruning import prunable
from jqueue.job.state import Entry as JobEntry
from jqueue.job.state import Layer, Place
from jqueue.job.status import JobStatus
from jqueue.job.transitions import (
    Outcome,
    Updates,
    archivable,
    cancel_final_updates,
    change_priority,
    finished_at,
    next_op,
    retry_inputs,
)
from jqueue.job.transitions import cancel as cancel_updates
from jqueue.queue.answer import Answered, Reply, as_changes, reply
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.entries import Entry, Prepared
from jqueue.queue.submission import Terms, submit_entry
from jqueue.store.protocol import Decide, JobAt, live_document

MAX_REASON_CHARS = 1000
"""A reason stands in every refusal and in the journal's headers."""


def cancel(job: int, *, now: int, kill: bool = False) -> Decide:
    """Cancel a job; the answer is an `Outcome`.

    A job of which nothing runs (queued, or waiting) is canceled at once.  A running one only with
    `kill`: it becomes canceling, and canceled when its process is gone (`running.cancel_done`).
    """

    def decide(layer: Layer) -> Reply:
        document = _open_document(layer, job)
        outcome, updates = cancel_updates(document, now=now, kill=kill)
        ops = document["ops"]
        if updates and not any(op["status"] == JobStatus.RUNNING for op in ops):
            outcome = Outcome(True, f"Job {job} canceled")
            updates = cancel_final_updates(document, now)
        return _changed(document, outcome, updates)

    return decide


def set_priority(job: int, priority: int) -> Decide:
    """Give the opcodes that have not begun another priority; the answer is an `Outcome`."""

    def decide(layer: Layer) -> Reply:
        document = _open_document(layer, job)
        outcome, updates = change_priority(document, priority)
        return _changed(document, outcome, updates)

    return decide


def retry(job: int, terms: Terms, *, from_failed: bool = False) -> Decide:
    """Submit a finished job, live or archived, again; the answer is the new job's ID.

    While a retry of it is unfinished the answer is that one's ID.  Raises JobNotFound, Refused if
    it is not finished, and what a submission raises.
    """

    def decide(layer: Layer) -> Any:
        document = layer.job(job)
        if document is None:
            raise JobNotFound(f"no job {job}", job_id=job)
        unfinished = layer.find(f"retry/{job}")
        if unfinished is not None:
            raise Answered(unfinished)
        inputs = retry_inputs(document, from_failed=from_failed, now=terms.now)
        entry = Entry(inputs, any(given.get("depends") for given in inputs))
        return submit_entry(Prepared([entry]), terms._replace(retry_of=job))(layer)

    return decide


def resolve(job: int, *, happened: bool, now: int) -> Decide:
    """Say whether the opcode that was set aside had its effect: then it succeeded, else it runs
    again.  The answer is an `Outcome`; raises JobNotFound.
    """

    def decide(layer: Layer) -> Reply:
        if layer.job(job) is None:
            raise JobNotFound(f"no job {job}", job_id=job)
        document = _open_document(layer, job)
        at = next_op(document)
        if at is None or not is_unresolved(document["ops"][at]):
            raise Answered(Outcome(False, f"Job {job} has nothing to resolve"))
        updates = resolve_updates(document, at, happened=happened, now=now)
        said = "success" if happened else "queued again"
        outcome = Outcome(True, f"Opcode {at} of job {job} resolved: {said}")
        return _changed(document, outcome, updates)

    return decide


def archive(job: int, *, now: int) -> Decide:
    """Move a finalized job to the archive; the answer is an `Outcome`."""

    def decide(layer: Layer) -> Reply:
        document = _open_document(layer, job)
        outcome = archivable(document)
        if not outcome:
            raise Answered(outcome)
        changes = [Archived(job, now / NS_PER_S)]
        return reply(changes, Outcome(True, f"Job {job} archived"), pre=(_at(document),))

    return decide


def archive_many(jobs: Iterable[int], *, ended_before: int, now: int) -> Decide:
    """Archive those of `jobs` that are finalized and ended by then (ns); the answer is how many."""
    candidates = list(dict.fromkeys(jobs))

    def decide(layer: Layer) -> Reply:
        changes = [
            Archived(job, now / NS_PER_S)
            for job in candidates
            if _ended_by(layer.find(job), ended_before)
        ]
        if not changes:
            raise Answered(0)
        return reply(changes, len(changes))

    return decide


def prune(jobs: Iterable[int]) -> Decide:
    """Remove finalized jobs for good; the answer is `{"pruned", "kept": [[id, why], …]}`.

    Kept is what is unfinished, nowhere, or the target of an unfinished job's dependency.
    """
    candidates = list(dict.fromkeys(jobs))

    def decide(layer: Layer) -> Reply:
        gone, kept = prunable(layer, candidates)
        answer = {"pruned": len(gone), "kept": kept}
        if not gone:
            raise Answered(answer)
        return reply([Pruned(job) for job in gone], answer)

    return decide


def set_drain(flag: dict[str, Any] | None) -> Decide:
    """Set or lift the drain flag."""
    return _set_flag("drain", flag, DrainSet(flag))


def set_pause(flag: dict[str, Any] | None) -> Decide:
    """Set or lift the pause flag."""
    return _set_flag("pause", flag, PauseSet(flag))


def make_flag(reason: str | None, by: str, now: int) -> dict[str, Any]:
    """What a set flag holds.  Raises InvalidJob for a reason that is no line of text."""
    if reason is not None:
        if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARS:
            raise InvalidJob(
                f"reason must be a text of at most {MAX_REASON_CHARS} characters", field="reason"
            )
        reason = reason.encode(errors="backslashreplace").decode()
    return {"reason": reason, "by": by, "since": now / NS_PER_S}


def _set_flag(key: str, flag: dict[str, Any] | None, change: Change) -> Decide:
    def decide(layer: Layer) -> Reply:
        found = layer.find(key)
        if flag is None and found is None:
            raise Answered
        if flag is not None and found is not None and found.get("reason") == flag["reason"]:
            raise Answered
        return reply([change], essential=True)

    return decide


def _ended_by(entry: JobEntry | None, ended_before: int) -> bool:
    """Whether a live job is finalized and ended at that time (ns) or before."""
    if entry is None or not entry.live or entry.document is None:
        return False
    if not archivable(entry.document):
        return False
    ended = finished_at(entry.document)
    return ended is None or ended * NS_PER_S <= ended_before


def _open_document(layer: Layer, job: int) -> Document:
    """The document of a live job; raises the answer for one that is archived or nowhere."""
    entry: JobEntry | None = layer.find(job)
    if entry is not None and entry.place is Place.ARCHIVE:
        raise Answered(Outcome(False, f"Job {job} is archived"))
    if entry is not None and entry.place is Place.QUARANTINE:
        raise Answered(Outcome(False, f"Job {job} is damaged, its file is in quarantine/"))
    if entry is None or entry.document is None:
        raise Answered(Outcome(False, f"Job {job} not found in queue"))
    return live_document(layer, job)


def _changed(document: Document, outcome: Outcome, updates: Updates) -> Reply:
    """The transaction of an outcome that changes the job; raises the answer if nothing does."""
    if not updates:
        raise Answered(outcome)
    changes = as_changes(document["id"], updates)
    return reply(changes, outcome, pre=(_at(document),), essential=True)


def _at(document: Document) -> JobAt:
    return JobAt(document["id"], document.get("lsn"))
