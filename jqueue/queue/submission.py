"""Submitting: what needs no state is done before the store's mutex is taken, the rest under it.

`place` is the one way by which jobs come into being: for users, retries, and logical units.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from jqueue.errors import InvalidJob, JQueueError, QueueFull
from jqueue.job.change import Change, Document, Submitted
from jqueue.job.dependency import resolve_inputs, validate_depends
from jqueue.job.document import new_document
from jqueue.job.reason import extend
from jqueue.job.state import Layer
from jqueue.job.status import JobStatus
from jqueue.queue.answer import Answered, Reply, reply
from jqueue.queue.dependencies import exists, final_statuses
from jqueue.queue.entries import Check, Entry, Prepared, check_name, prepare, prepare_many
from jqueue.queue.keys import key_change, known_answer
from jqueue.queue.protocol import AnyOp, Submission
from jqueue.store.protocol import Decide, NotDrained, drained

MAX_LIVE_JOBS: Final = 1_000_000
"""So many open and finished but not archived jobs a queue takes by default."""

NOT_DRAINED: Final = NotDrained()
_OPEN: Final = (NOT_DRAINED,)
_COUNTS: Final = tuple(f"count/{status}" for status in JobStatus)


class Terms(NamedTuple):
    """The circumstances of a submission."""

    now: int
    """Unix time in nanoseconds."""
    max_live_jobs: int = MAX_LIVE_JOBS
    submitter: Mapping[str, int] | None = None
    """`{"job", "op"}` of the opcode that submits."""
    key: str | None = None
    key_digest: str | None = None
    """The content of the whole submission under that key; set here."""
    unique: str | None = None
    retry_of: int | None = None
    despite_drain: bool = False
    """Submit to a drained queue too; the reason trail then says so."""
    uid: int | None = None
    """The user whose process asked, where that is known; the reason trail then says so."""


def submit_one(ops: Iterable[AnyOp] | Prepared, terms: Terms, check: Check | None = None) -> Decide:
    """Submit one job; the answer is its ID, or that of the job that `key` or `unique` stands for.

    Raises InvalidJob now; the rule raises QueueDrained, QueueFull, KeyConflict, InvalidJob.
    """
    check_name(terms.key, "key")
    check_name(terms.unique, "unique")
    prepared = ops if isinstance(ops, Prepared) else Prepared([prepare(ops, check)])
    refusal = prepared.entries[0].refusal
    if refusal is not None:
        raise refusal
    return submit_entry(prepared, terms)


def submit_entry(prepared: Prepared, terms: Terms) -> Decide:
    """As `submit_one`, of the one entry that is at hand."""
    [entry] = prepared.entries
    key, unique = terms.key, terms.unique
    digest = ""
    if key is not None:
        digest = prepared.digest
        terms = terms._replace(key_digest=digest)

    def decide(layer: Layer) -> Reply:
        if key is not None:
            known = known_answer(layer, key, digest, 1, terms.now)
            if known is not None:
                raise Answered(known[0].value)
        if unique is not None:
            found = layer.find(f"unique/{unique}")
            if found is not None and key is None:
                raise Answered(found)
            if found is not None and key is not None:
                return reply([key_change(key, digest, [Submission(True, found)])], found)
        [ready] = _admitted(layer, [entry], terms)
        serial = layer.find("serial") or 0
        if serial >= terms.max_live_jobs:
            _refuse_if_full(layer, terms)
        document = _document(layer, serial + 1, ready, 0, (), terms)
        changes: list[Change] = [Submitted(document)]
        if key is not None:
            changes.append(key_change(key, digest, [Submission(True, serial + 1)]))
        return reply(changes, serial + 1, pre=() if terms.despite_drain else _OPEN)

    return decide


def submit_many(
    jobs: Iterable[Iterable[AnyOp]] | Prepared,
    terms: Terms,
    *,
    atomic: bool = False,
    check: Check | None = None,
) -> Decide:
    """Submit jobs in one transaction; the answer is a list of `Submission`, one an entry.

    Entries are refused one by one; if `atomic`, one refusal is raised and nothing is submitted.
    Raises InvalidJob now if `jobs` is no list; the rule raises QueueDrained, KeyConflict.
    """
    check_name(terms.key, "key")
    key = terms.key
    prepared = jobs if isinstance(jobs, Prepared) else Prepared(prepare_many(jobs, check))
    entries = prepared.entries
    digest = ""
    if key is not None:
        digest = prepared.digest
        terms = terms._replace(key_digest=digest)

    def decide(layer: Layer) -> Reply:
        if key is not None:
            known = known_answer(layer, key, digest, len(entries), terms.now)
            if known is not None:
                raise Answered(known)
        answers, changes, refusal = place(layer, _admitted(layer, entries, terms), terms)
        if atomic and refusal is not None:
            raise refusal
        if not changes:
            raise Answered(answers)
        if key is not None:
            changes.append(key_change(key, digest, answers))
        return reply(changes, answers, pre=() if terms.despite_drain else _OPEN)

    return decide


class Placed(NamedTuple):
    """What became of the entries of a submission, and the changes that make the accepted ones."""

    answers: list[Submission]
    changes: list[Change]
    refusal: JQueueError | None
    """The first one, saying which entry it is about."""


def place(layer: Layer, entries: Sequence[Entry], terms: Terms) -> Placed:
    """Give IDs to the entries that can be accepted; does not look at the drain flag."""
    serial: int = layer.find("serial") or 0
    room = len(entries)
    if serial + room > terms.max_live_jobs:
        room = terms.max_live_jobs - live_jobs(layer)
    ids: list[int | None] = []
    answers: list[Submission] = []
    changes: list[Change] = []
    first: JQueueError | None = None
    for index, entry in enumerate(entries):
        try:
            if entry.refusal is not None:
                raise entry.refusal
            if len(changes) >= room:
                raise _full(terms.max_live_jobs)
            document = _document(layer, serial + 1, entry, index, ids, terms)
        except JQueueError as refusal:
            first = first or _about_entry(refusal, index)
            ids.append(None)
            answers.append(Submission(False, str(refusal)))
        else:
            serial += 1
            ids.append(serial)
            answers.append(Submission(True, serial))
            changes.append(Submitted(document))
    return Placed(answers, changes, first)


def live_jobs(layer: Layer) -> int:
    """How many jobs are live: neither archived nor gone."""
    return sum(layer.find(key) or 0 for key in _COUNTS)


def _document(
    layer: Layer,
    job: int,
    entry: Entry,
    index: int,
    ids: Sequence[int | None],
    terms: Terms,
) -> Document:
    """The new job's document; a dependency that has ended already is recorded in it at once."""
    inputs: Sequence[Mapping[str, Any]] = entry.inputs
    if entry.depends:
        inputs = resolve_inputs(inputs, index, ids)
        validate_depends(inputs, job, lambda target: target in ids or exists(layer, target))
    document = new_document(
        job,
        inputs,
        now=terms.now,
        submitter=terms.submitter,
        key=terms.key,
        unique=terms.unique,
        retry_of=terms.retry_of,
        uid=terms.uid,
    )
    if terms.key_digest is not None:
        document["key_digest"] = terms.key_digest
    if entry.depends:
        for op in document["ops"]:
            ended = final_statuses(layer, op)
            if ended:
                op["dependencies"] = ended
    return document


def _refuse_if_full(layer: Layer, terms: Terms) -> None:
    if live_jobs(layer) >= terms.max_live_jobs:
        raise _full(terms.max_live_jobs)


def _full(limit: int) -> QueueFull:
    return QueueFull(
        f"the queue holds {limit} live jobs, as many as it may; archive finished ones"
        " (jqueue autoarchive all) or let it run",
        limit=limit,
    )


def _about_entry(refusal: JQueueError, index: int) -> JQueueError:
    """The same refusal, saying which entry of the submission it is about."""
    if not isinstance(refusal, InvalidJob):
        return refusal
    text = f"{refusal.args[0]} (entry {index} of the submission)"
    return InvalidJob(text, index=refusal.index, field=refusal.field)


def _admitted(layer: Layer, entries: list[Entry], terms: Terms) -> list[Entry]:
    """The entries, if the queue takes submissions.

    A drained one does under terms `despite_drain`: the reason trails then say so.  Raises
    QueueDrained.
    """
    flag = layer.find("drain")
    if flag is None:
        return entries
    if not terms.despite_drain:
        raise drained(flag)
    return [
        entry._replace(inputs=[_submitted_despite(given, terms.now) for given in entry.inputs])
        for entry in entries
    ]


def _submitted_despite(given: Mapping[str, Any], now: int) -> dict[str, Any]:
    trail = extend(given.get("reason"), "jqueue:drain", "submitted despite", now)
    return {**given, "reason": trail}
