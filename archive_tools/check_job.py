"""What is wrong inside one job file: bytes in, findings out."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from archive_tools.findings import Finding, found
from jqueue.errors import InvalidJob, QueueFailed
from jqueue.job import ganeti
from jqueue.job.change import Document
from jqueue.job.family import named_children
from jqueue.job.state import job_dependencies
from jqueue.job.status import FINALIZED, PRIORITY_HIGHEST, PRIORITY_LOWEST, calc_status
from jqueue.store import jobfiles
from jqueue.store.disk import Disk
from jqueue.store.packed import Packs

JOB_KEYS: Final = frozenset(
    {
        *ganeti.JOB_KEYS,
        "lsn",
        "key",
        "key_digest",
        "unique",
        "submitter",
        "submissions",
        "retry_of",
    }
)
OP_KEYS: Final = frozenset(
    {
        *ganeti.OP_KEYS,
        "attempts",
        "interruptions",
        "token",
        "interruption",
        "max_interruptions",
        "livelock",
        "locks",
        "dependencies",
        "progress",
        "parked",
        "retry_at",
        "base_priority",
    }
)
_OP_ID: Final = re.compile(r"OP_[A-Z0-9_]+")
_GANETI_OP: Final = re.compile(
    r"OP_(BACKUP|CLUSTER|EXT_STORAGE|GROUP|INSTANCE|NETWORK|NODE|OOB|OS|QUERY|REPAIR|RESTRICTED"
    r"|SEARCH|TAGS|TEST)(_[A-Z0-9_]+)?"
)
_FUTURE_S: Final = 86_400.0


class Facts(NamedTuple):
    """What a readable job file says that only makes sense beside others'."""

    job: int
    path: str
    archived: bool
    lsn: int
    open: bool
    depends: tuple[int, ...]
    children: tuple[int, ...]
    submitter: int | None
    key: tuple[str, str] | None
    unique: str | None
    ours: bool

    @property
    def relates(self) -> bool:
        """Whether it says anything of other jobs, or something that no other may say too."""
        related = self.depends or self.children or self.submitter is not None
        return bool(related) or self.key is not None or self.unique is not None


def facts_of(document: Document, path: str, *, archived: bool) -> Facts:
    """Return them."""
    is_open = not archived and calc_status(document["ops"]) not in FINALIZED
    submitter = document.get("submitter")
    key = document.get("key")
    return Facts(
        document["id"],
        path,
        archived,
        document.get("lsn", 0),
        is_open,
        tuple(job_dependencies(document)) if is_open else (),
        tuple(named_children(document)),
        submitter["job"] if submitter else None,
        (key, document.get("key_digest", "")) if key is not None else None,
        document.get("unique") if is_open else None,
        "lsn" in document,
    )


def read_job(disk: Disk, path: str, job: int, packs: Packs | None) -> Document | Finding:
    """Return the document in a file, or in a pack if `packs` are given, or what is wrong with it.

    Raises FileNotFoundError.
    """
    try:
        return jobfiles.read_document(disk, path, job)
    except jobfiles.Damaged as error:
        return _damage(disk, path, job, error)
    except FileNotFoundError:
        if packs is None:
            raise
        return _packed(disk, path, job, packs)
    except QueueFailed as error:
        return found("unreadable", path, str(error), job=job)


def _packed(disk: Disk, path: str, job: int, packs: Packs) -> Document | Finding:
    try:
        document = jobfiles.read_archived(disk, job, packs)
    except (jobfiles.Damaged, QueueFailed) as error:
        return found(
            "pack", path, f"{path}: job {job} can't be read from its pack: {error}", job=job
        )
    if document is None:
        raise FileNotFoundError(path)
    return document


def _damage(disk: Disk, path: str, job: int, error: jobfiles.Damaged) -> Finding:
    cause = error.__cause__
    name = f"{path}: job {job}"
    if isinstance(cause, OSError):
        return found("job-not-regular", path, f"{name}: {cause.strerror or cause}", job=job)
    if not isinstance(cause, InvalidJob):
        if not disk.read(path, jobfiles.MAX_JOB_BYTES).strip(b" \t\r\n\0"):
            return found("job-empty", path, f"{name}: the file holds nothing", job=job)
        return found("job-not-json", path, f"{name}: not JSON: {error}", job=job)
    if cause.field == "id":
        return found("job-wrong-id", path, f"{name}: {error}", job=job)
    return found("job-invalid", path, f"{name}: {error}", job=job)


def check_document(
    document: Document, path: str, *, archived: bool, ganeti: bool
) -> Iterator[Finding]:
    """Yield what is wrong with a job by itself."""
    job, ops = document["id"], document["ops"]
    yield from _statuses(job, path, ops)
    if archived and calc_status(ops) not in FINALIZED:
        text = f"{path}: archived job {job} is {calc_status(ops)}"
        yield found("archive-unfinished", path, text, job=job)
    for index, op in enumerate(ops):
        if not PRIORITY_HIGHEST <= op["priority"] <= PRIORITY_LOWEST:
            text = f"{path}: opcode {index} of job {job} has priority {op['priority']}"
            yield found("job-priority", path, text, job=job)
        yield from _kind(job, path, index, op["input"], ganeti=ganeti)
        if ganeti:
            yield from _unknown_keys(job, path, op.keys() - OP_KEYS, f"opcode {index} of ")
    if ganeti:
        yield from _unknown_keys(job, path, document.keys() - JOB_KEYS, "")
    yield from _times(document, path)


def _statuses(job: int, path: str, ops: list[dict[str, Any]]) -> Iterator[Finding]:
    """Opcodes run in order: none begins before the one before it has succeeded."""
    before = "success"
    for index, op in enumerate(ops):
        status = op["status"]
        begun = status in {"waiting", "running", "success"}
        if begun and before != "success":
            text = f"{path}: opcode {index} of job {job} is {status} after one that is {before}"
            yield found("job-status", path, text, job=job)
        before = status


def _kind(job: int, path: str, index: int, given: Any, *, ganeti: bool) -> Iterator[Finding]:
    op_id = given.get("OP_ID") if isinstance(given, dict) else None
    where = f"{path}: opcode {index} of job {job}"
    if not isinstance(op_id, str) or not _OP_ID.fullmatch(op_id):
        yield found("op-unknown", path, f"{where} has no readable OP_ID: {op_id!r:.60}", job=job)
    elif ganeti and not _GANETI_OP.fullmatch(op_id):
        yield found("op-unknown", path, f"{where}: {op_id:.60} is none of Ganeti's kinds", job=job)


def _unknown_keys(job: int, path: str, keys: set[str], of: str) -> Iterator[Finding]:
    if keys:
        named = ", ".join(repr(key)[:40] for key in sorted(keys)[:5])
        text = f"{path}: {of}job {job} has keys that nobody here knows, and keeps: {named}"
        yield found("key-unknown", path, text, job=job)


def _times(document: Document, path: str) -> Iterator[Finding]:
    job = document["id"]
    times = [
        (name, document[f"{name}_timestamp"])
        for name in ("received", "start", "end")
        if document[f"{name}_timestamp"] is not None
    ]
    for (name, first), (later, second) in itertools.pairwise(times):
        if second < first:
            text = f"{path}: job {job} has its {later} before its {name}"
            yield found("job-times", path, text, job=job)
    if times and times[-1][1][0] > time.time() + _FUTURE_S:
        text = f"{path}: job {job} has its {times[-1][0]} in the future"
        yield found("job-times", path, text, job=job)
    if document["end_timestamp"] is not None and calc_status(document["ops"]) not in FINALIZED:
        text = f"{path}: job {job} has an end, but is {calc_status(document['ops'])}"
        yield found("job-times", path, text, job=job)


def check_file(
    disk: Disk, path: str, job: int, packs: Packs | None, *, ganeti: bool
) -> tuple[Facts | None, list[Finding]]:
    """Return what is wrong inside one job's file, and its facts if it can be read.

    `packs` are given for an archived job.
    """
    archived = packs is not None
    try:
        document = read_job(disk, path, job, packs)
    except FileNotFoundError:
        return None, []
    if isinstance(document, Finding):
        return None, [document]
    findings = list(check_document(document, path, archived=archived, ganeti=ganeti))
    return facts_of(document, path, archived=archived), findings
