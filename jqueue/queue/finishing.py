"""The end of an execution: the result, its children and their IDs become one transaction."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from jqueue.errors import JobNotFound, Refused
from jqueue.job.change import Change, Document, Logged
from jqueue.job.document import timestamp
from jqueue.job.failure import encode_error
from jqueue.job.jsonio import check_storable
from jqueue.job.state import Layer
from jqueue.job.status import JobStatus
from jqueue.job.transitions import finish_updates, requeue_updates
from jqueue.queue.answer import Answered, Reply, as_changes, reply
from jqueue.queue.children import place_children
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.entries import Check, Entry, prepare_many
from jqueue.queue.protocol import AnyOp, Submission
from jqueue.queue.running import number_entries, running, startable_document
from jqueue.queue.submission import MAX_LIVE_JOBS, Terms
from jqueue.store.protocol import Decide, OpIs, live_document

FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 600.0
"""An automatic retry waits twice as long as the one before, up to this."""
JITTER: Final = 0.25
"""So much of it more or less, lest what failed together is repeated together."""
LONGEST_BACKOFF_S: Final = MAX_BACKOFF_S * (1 + JITTER)

MAX_REASON_CHARS: Final = 1000
"""An attempt's error goes to the log only in short: the last one becomes the result."""

OnRefusal = Literal["report", "error"]


class Finished(NamedTuple):
    """What a finish came to: the opcode's status now (queued: it is tried again), its children."""

    status: str
    children: tuple[Submission, ...] = ()


def finish(  # noqa: PLR0913  # a result has these independent parts
    job: int,
    op_index: int,
    token: int,
    *,
    now: int,
    ok: bool,
    result: Any = None,
    children: Iterable[Iterable[AnyOp]] | None = None,
    on_refusal: OnRefusal = "report",
    retry_delay_s: float | None = None,
    is_final: bool = False,
    max_live_jobs: int = MAX_LIVE_JOBS,
    check: Check | None = None,
) -> Decide:
    """End an opcode; the answer is a `Finished`.

    With `children` the result becomes `{"jobs": [[true, id] or [false, why], …], **result}`; with
    `on_refusal="error"` one refused entry means no child and a failed opcode.  A failed opcode with
    retries left is queued again, after a backoff or `retry_delay_s`; not if that `is_final`.

    The same finish again is answered, not repeated: the token stays in the opcode.  Raises Refused
    if the opcode is canceling or canceled, or does not run under `token`; InvalidJob now if the
    result is not storable.
    """
    result = check_storable(result)
    entries = None if children is None or not ok else prepare_many(children, check)

    def decide(layer: Layer) -> Reply:
        document = _unfinished(layer, job, op_index, token)
        terms = Terms(now, max_live_jobs, {"job": job, "op": op_index})
        end = _End(bool(ok), result)
        if entries is not None:
            end = _with_children(layer, document, op_index, entries, terms, on_refusal, result)
        changes, status = _ending(document, op_index, end, now, retry_delay_s, is_final=is_final)
        # The children come first: one that depends on its parent must be there when that ends.
        return reply(
            [*end.changes, *changes],
            Finished(status, end.children),
            pre=(OpIs(job, op_index, (JobStatus.RUNNING,), token),),
            essential=True,
        )

    return decide


def fail_unstarted(job: int, op_index: int, *, now: int, why: str) -> Decide:
    """End with an error what can't even be started.  Raises Refused, as `start`; JobNotFound."""

    def decide(layer: Layer) -> Reply:
        document = startable_document(layer, job, op_index, now)
        updates = finish_updates(document, op_index, JobStatus.ERROR, encode_error(why), now)
        return reply(as_changes(job, updates), essential=True)

    return decide


class _End(NamedTuple):
    ok: bool
    result: Any
    changes: tuple[Change, ...] = ()
    children: tuple[Submission, ...] = ()


def _unfinished(layer: Layer, job: int, op_index: int, token: int) -> Document:
    """The document of a job whose opcode runs under `token`.

    Raises the answer if this execution was finished before, and Refused.
    """
    document = _document_anywhere(layer, job)
    ops = document["ops"]
    if 0 <= op_index < len(ops) and ops[op_index].get("token") == token:
        op = ops[op_index]
        if op["status"] == JobStatus.RUNNING:
            return document
        # Queued with a token: the attempt failed and is to be repeated.  Whatever else gives an
        # opcode back, takes the token.
        if op["status"] in (JobStatus.SUCCESS, JobStatus.ERROR, JobStatus.QUEUED):
            result = op["result"]
            jobs = result.get("jobs", ()) if isinstance(result, dict) else ()
            children = tuple(Submission(*entry) for entry in jobs) if _are_answers(jobs) else ()
            raise Answered(Finished(op["status"], children))
    return running(layer, job, op_index, token)


def _document_anywhere(layer: Layer, job: int) -> Document:
    """The document, archived or not: a finish may be repeated after its job was archived."""
    document = layer.job(job)
    if document is None:
        try:
            return live_document(layer, job)
        except JobNotFound as error:
            raise Refused(str(error)) from error
    return document


def _are_answers(jobs: Any) -> bool:
    return isinstance(jobs, list) and all(
        isinstance(entry, list) and len(entry) == len(Submission._fields) for entry in jobs
    )


def _with_children(
    layer: Layer,
    document: Document,
    op_index: int,
    entries: list[Entry],
    terms: Terms,
    on_refusal: OnRefusal,
    others: Any,
) -> _End:
    placed = place_children(layer, document, op_index, entries, terms)
    if placed.refusal is not None and on_refusal == "error":
        text = f"a job that it submits was refused: {placed.refusal}"
        return _End(False, encode_error(text))
    jobs = [list(answer) for answer in placed.answers]
    own = others if isinstance(others, Mapping) else {} if others is None else {"result": others}
    return _End(True, {"jobs": jobs, **own}, tuple(placed.changes), tuple(placed.answers))


def _ending(
    document: Document,
    op_index: int,
    end: _End,
    now: int,
    retry_delay_s: float | None,
    *,
    is_final: bool,
) -> tuple[list[Change], str]:
    job, op = document["id"], document["ops"][op_index]
    if end.ok:
        updates = finish_updates(document, op_index, JobStatus.SUCCESS, end.result, now)
        return as_changes(job, updates), JobStatus.SUCCESS.value
    failures = op.get("attempts", 1) - op.get("interruptions", 0)
    retries = _retries(op)
    if is_final or failures > retries:
        updates = finish_updates(document, op_index, JobStatus.ERROR, end.result, now)
        return as_changes(job, updates), JobStatus.ERROR.value
    delay_s = max(retry_delay_s or 0.0, 0.0)
    if retry_delay_s is None:
        delay_s = backoff_s(failures) * jitter(job, op_index, op.get("token"))
    at, values = requeue_updates(document, op_index, retry_at=now / NS_PER_S + delay_s)[0]
    kept = {name: value for name, value in values.items() if name != "token"}
    text = (
        f"attempt {failures} of {retries + 1} failed, the next in {delay_s:.3g} s: {end.result!r}"
    )
    entry = [timestamp(now), "retry", text[:MAX_REASON_CHARS]]
    logged = Logged(job, op_index, number_entries(document, [entry]))
    return [logged, *as_changes(job, [(at, kept)])], JobStatus.QUEUED.value


def backoff_s(failures: int) -> float:
    """How long to wait after so many failed attempts, but for the jitter."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 60), MAX_BACKOFF_S)


def jitter(job: int, op_index: int, token: Any) -> float:
    """A factor from 1 − JITTER to 1 + JITTER: another one for each execution, always the same."""
    spread = zlib.crc32(f"{job}.{op_index}.{token}".encode()) / 0xFFFF_FFFF
    return 1 - JITTER + 2 * JITTER * spread


def _retries(op: Mapping[str, Any]) -> int:
    """How often a failed opcode is tried again: as recorded at its start, else as submitted."""
    recorded = op.get("retries")
    if recorded is None and isinstance(op["input"], dict):
        recorded = op["input"].get("retries")
    return int(recorded or 0)
