"""The life of one opcode: started, interrupted, given back, canceled, and what it says meanwhile.

The token of an execution is the LSN of the record that started it.  A later message counts only
while the opcode runs under the token that the message names, in the *next* state: journal order
decides every race.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from jqueue.errors import JobNotFound, Refused
from jqueue.job import jsonio
from jqueue.job.change import Change, Document, Logged, OpSet, Started
from jqueue.job.dependency import Verdict
from jqueue.job.document import timestamp
from jqueue.job.interruption import Interruption, interruption_updates, is_unresolved
from jqueue.job.log import Log
from jqueue.job.state import Layer
from jqueue.job.status import JobStatus
from jqueue.job.transitions import (
    Updates,
    age_updates,
    cancel_final_updates,
    next_op,
    not_before,
    requeue_updates,
    start_updates,
    wait_updates,
)
from jqueue.queue.answer import Answered, Reply, as_changes, reply
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.dependencies import statuses_for, verdict_on
from jqueue.store.protocol import Decide, JobAt, OpIs, live_document

MAX_LOG_BYTES: Final = 16 << 20
"""Of one job; and a batch of entries more: with input and results it has to fit a record."""
LOG_FULL: Final = "full"
LEFT_OUT: Final = "what comes after is left out"
"""The last entry of a log that is at its end is of this type and says this: a unit may have entries
of the same type."""
STARTABLE = (JobStatus.QUEUED, JobStatus.WAITING)
EXECUTING = (JobStatus.RUNNING, JobStatus.CANCELING)


def start(  # noqa: PLR0913  # all that recovery must find in the record of the start
    job: int,
    op_index: int,
    *,
    now: int,
    livelock: str,
    worker: Mapping[str, Any] | None = None,
    policy: Interruption | str = Interruption.REQUEUE,
    max_interruptions: int | None = None,
    retries: int | None = None,
    timeout_s: float | None = None,
    locks: Any = None,
    kind_limit: int | None = None,
) -> Decide:
    """Start an opcode; the answer is its document's state before, the record's LSN is the token.

    `worker` names the process that executes it, with a `pid` unless it is a claimant's; `retries`
    and `timeout_s` are the unit's defaults, the opcode's own have the first word.  Raises Refused
    unless it is the job's next opcode, queued (or waiting for the locks that it now gets), not
    before its time, with its dependencies met, in a queue that isn't paused.  The backoff of a
    failed attempt is the scheduler's affair, who counts it on a clock that nobody can set.
    """

    def decide(layer: Layer) -> Reply:
        document = startable_document(layer, job, op_index, now)
        op = document["ops"][op_index]
        given = op["input"] if isinstance(op["input"], dict) else {}
        own_retries, own_timeout_s = given.get("retries"), given.get("timeout_s")
        (_, values), *of_job = start_updates(
            document,
            op_index,
            now,
            livelock=livelock,
            process_id=None if worker is None else worker.get("pid"),
            interruption=str(policy),
            max_interruptions=max_interruptions,
            locks=locks,
            recorded={
                "worker": None if worker is None else dict(worker),
                "retries": retries if own_retries is None else own_retries,
                "timeout_s": timeout_s if own_timeout_s is None else own_timeout_s,
                "kind_limit": kind_limit,
                # What they came to must be known for a retry, long after the targets are pruned.
                "dependencies": statuses_for(layer, op) or None,
            },
        )
        changes = [Started(job, op_index, values), *as_changes(job, of_job)]
        return reply(changes, document, pre=(OpIs(job, op_index, STARTABLE),))

    return decide


def startable_document(layer: Layer, job: int, op_index: int, now: int) -> Document:
    """The document of a job whose opcode may start now.  Raises Refused, JobNotFound."""
    if layer.find("pause") is not None:
        raise Refused("the queue is paused; resume it first")
    document = live_document(layer, job)
    if next_op(document) != op_index:
        raise Refused(f"{_name(job, op_index)} is not the next opcode of its job")
    op = document["ops"][op_index]
    if op["status"] not in STARTABLE:
        raise Refused(f"{_name(job, op_index)} is {op['status']}, not queued")
    if is_unresolved(op):
        raise Refused(f"{_name(job, op_index)} is set aside: {op['parked']}")
    if not_before(op) * NS_PER_S > now:
        raise Refused(f"{_name(job, op_index)} may not start yet")
    verdict, text = verdict_on(layer, op, job)
    if verdict is not Verdict.CONTINUE:
        raise Refused(f"{_name(job, op_index)} can't start: {text}")
    return document


def executing(layer: Layer, job: int, op_index: int, token: int) -> Document:
    """The document of a job whose opcode runs under `token`, even canceling; raises Refused."""
    document = _document(layer, job)
    OpIs(job, op_index, EXECUTING, token).check_document(document)
    return document


def running(layer: Layer, job: int, op_index: int, token: int) -> Document:
    """As `executing`, but refused too once it is being canceled."""
    document = _document(layer, job)
    OpIs(job, op_index, (JobStatus.RUNNING,), token).check_document(document)
    return document


def log(
    job: int,
    op_index: int,
    token: int,
    entries: Sequence[Sequence[Any]],
    *,
    again: bool = False,
) -> Decide:
    """Add `[[s, us], type, message]` entries to an opcode's log; they get the job's next serials.

    `again`: they were sent before, and those that are in the log already are left out.  The answer
    is the serial of the last one.  Raises Refused unless it runs under `token`, or did until its
    cancellation.
    """

    def decide(layer: Layer) -> Reply:
        document = executing(layer, job, op_index, token)
        known = document["ops"][op_index].get("log") if again else None
        fresh = _not_in(known, entries) if known else entries
        numbered = number_entries(document, _within_bound(document, fresh))
        if not numbered:
            raise Answered(last_log_serial(document))
        return reply([Logged(job, op_index, numbered)], numbered[-1][0])

    return decide


def _within_bound(document: Document, entries: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """Return the entries, or in their place what says that no more are kept, once."""
    logs = [Log.of(op.get("log")) for op in document["ops"]]
    if any(one and one[-1][2] == LOG_FULL and LEFT_OUT in str(one[-1][3]) for one in logs):
        return []
    if not entries or sum(one.size_bytes for one in logs) <= MAX_LOG_BYTES:
        return entries
    text = f"the job's log has {MAX_LOG_BYTES} bytes: {LEFT_OUT}"
    return [[entries[0][0], LOG_FULL, text]]


def end_log(job: int, op_index: int, token: int, *, now: int, why: str) -> Decide:
    """No record holds the job with more entries: the last one says so.  Raises Refused, as `log`.

    The answer is None.
    """

    def decide(layer: Layer) -> Reply:
        document = executing(layer, job, op_index, token)
        entry = [timestamp(now), LOG_FULL, f"{LEFT_OUT}: {why}"]
        numbered = number_entries(document, _within_bound(document, [entry]))
        if not numbered:
            raise Answered
        return reply([Logged(job, op_index, numbered)], essential=True)

    return decide


def _not_in(known: Any, entries: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return those of the entries that the log doesn't hold: each has a time of its own."""
    there = {jsonio.dumps(entry[1:]) for entry in Log.of(known)}
    return [entry for entry in entries if jsonio.dumps(entry) not in there]


def number_entries(document: Document, entries: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """The entries with the serials that follow those of the job's log."""
    serial = last_log_serial(document)
    return [[serial + at, *entry] for at, entry in enumerate(entries, 1)]


def last_log_serial(document: Document) -> int:
    """The highest log serial of the job, which counts across its opcodes; 0 before the first."""
    logs = (Log.of(op.get("log")) for op in document["ops"])
    return max((entries[-1][0] for entries in logs if len(entries)), default=0)


def progress(job: int, op_index: int, token: int, value: Any) -> Decide:
    """Record how far an opcode is.  Raises Refused, as `log`."""

    def decide(layer: Layer) -> Reply:
        executing(layer, job, op_index, token)
        return reply([OpSet(job, op_index, {"progress": value})])

    return decide


def requeue(job: int, op_index: int, token: int, *, counted: bool = False) -> Decide:
    """Give an opcode back: it was never begun, or its claimant leaves it.

    Uncounted: as if it had not been started.  One that is being canceled becomes canceled instead,
    for which use `cancel_done`.  Raises Refused unless it runs under `token`.
    """

    def decide(layer: Layer) -> Reply:
        document = running(layer, job, op_index, token)
        updates = requeue_updates(document, op_index, counted=counted)
        return reply(as_changes(job, updates), essential=True)

    return decide


def interrupted(job: int, op_index: int, token: int, *, now: int, counted: bool = True) -> Decide:
    """The process that executed the opcode is gone, its livelock free, all it sent is read.

    By the recorded policy the opcode is queued again, failed, or set aside; a canceling one becomes
    canceled; its log says so.  Not `counted` (after an orderly stop or a reboot): the interruption
    does not count against its limit.  Raises Refused unless it runs under `token`.
    """

    def decide(layer: Layer) -> Reply:
        document = executing(layer, job, op_index, token)
        op = document["ops"][op_index]
        updates = interruption_updates(_uncounted(document, op_index, counted), op_index, now)
        # A finish of this execution that comes later must not be taken for a repeated one.
        updates = [
            (at, {**values, "token": None} if at == op_index else values) for at, values in updates
        ]
        after = next(values["status"] for at, values in updates if at == op_index)
        if not counted:
            updates = _drop_count(updates, op_index, op)
        text = f"the process that executed it is gone: {_said(after)}"
        entry = number_entries(document, [[timestamp(now), "interrupted", text]])
        changes: list[Change] = [Logged(job, op_index, entry), *as_changes(job, updates)]
        return reply(changes, after, essential=True)

    return decide


def cancel_done(job: int, *, now: int) -> Decide:
    """Nothing of a canceling job runs any more: it becomes canceled.  Raises Refused."""

    def decide(layer: Layer) -> Reply:
        document = _document(layer, job)
        at = next_op(document)
        if at is None or document["ops"][at]["status"] != JobStatus.CANCELING:
            raise Refused(f"job {job} is not being canceled")
        changes = as_changes(job, cancel_final_updates(document, now))
        return reply(changes, pre=(JobAt(job, document.get("lsn")),), essential=True)

    return decide


def wait_for_locks(job: int, op_index: int, *, now: int) -> Decide:
    """A queued opcode begins to wait for its locks, visibly.  Raises Refused as `start`."""

    def decide(layer: Layer) -> Reply:
        document = startable_document(layer, job, op_index, now)
        if document["ops"][op_index]["status"] == JobStatus.WAITING:
            raise Answered
        return reply(as_changes(job, wait_updates(document, op_index, now)))

    return decide


def stop_waiting(job: int, op_index: int) -> Decide:
    """An opcode that waited for locks is queued again (recovery).  Raises Refused."""

    def decide(layer: Layer) -> Reply:
        document = live_document(layer, job)
        OpIs(job, op_index, (JobStatus.WAITING,)).check(layer)
        if is_unresolved(document["ops"][op_index]):
            raise Refused(f"{_name(job, op_index)} is set aside until it is resolved")
        return reply(as_changes(job, requeue_updates(document, op_index)))

    return decide


def age(job: int, op_index: int) -> Decide:
    """An opcode that couldn't get its locks in time becomes more urgent by one.  Raises Refused."""

    def decide(layer: Layer) -> Reply:
        document = live_document(layer, job)
        OpIs(job, op_index, STARTABLE).check(layer)
        updates = age_updates(document, op_index)
        if not updates:
            raise Answered
        return reply(as_changes(job, updates))

    return decide


def _document(layer: Layer, job: int) -> Document:
    """The document of a live job; a job that is nowhere refuses as a stale token does."""
    try:
        return live_document(layer, job)
    except JobNotFound as error:
        raise Refused(str(error)) from error


def _uncounted(document: Document, op_index: int, counted: bool) -> Document:
    """The document with one interruption less, if this one is not to count."""
    if counted:
        return document
    ops = [*document["ops"]]
    ops[op_index] = {**ops[op_index], "interruptions": ops[op_index].get("interruptions", 0) - 1}
    return {**document, "ops": ops}


def _drop_count(updates: Updates, op_index: int, op: Mapping[str, Any]) -> Updates:
    """The updates without the count of interruptions; the attempt is taken back with it."""
    dropped: Updates = []
    for at, values in updates:
        if at == op_index:
            kept = {name: value for name, value in values.items() if name != "interruptions"}
            if kept["status"] in STARTABLE:
                kept["attempts"] = max(op.get("attempts", 0) - 1, 0) or None
            dropped.append((at, kept))
        else:
            dropped.append((at, values))
    return dropped


def _said(status: str) -> str:
    said = {
        JobStatus.QUEUED.value: "queued again",
        JobStatus.WAITING.value: "set aside until somebody says whether it happened",
        JobStatus.ERROR.value: "failed",
        JobStatus.CANCELED.value: "canceled",
    }
    return said[str(status)]


def _name(job: int, op_index: int) -> str:
    return f"opcode {op_index} of job {job}"
