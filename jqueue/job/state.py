"""The state of a queue, and `apply`, the one function that changes it.

A state is a mapping of keys to immutable values.  A job's key is its ID and its value an `Entry`;
every other key is text:

    serial, drain, pause      what their names say
    key/K                     the jobs that the user's idempotency key K names
    unique/NAME               the unfinished job of this name
    retry/ID                  the unfinished job that repeats job ID
    waited/ID                 how many unfinished jobs depend on job ID
    fate/ID                   the final status of job ID, kept while somebody depends on it
    count/STATUS              how many live jobs have this status

    pack/N                    what is wrong with the pack of archive directory N: asked, never set

The five before the last are derived: `apply` keeps them up to date as jobs change, so that they are
rolled back, replayed and made durable with the change that moved them, and never drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import groupby
from typing import Any, Final, NamedTuple, Protocol

from jqueue.job.change import (
    Archived,
    Change,
    Document,
    DrainSet,
    JobSet,
    KeyDropped,
    KeySet,
    Logged,
    OpSet,
    PauseSet,
    Pruned,
    Quarantined,
    SerialSet,
    Started,
    Submitted,
    Values,
)
from jqueue.job.ganeti import JOB_KEYS, OP_KEYS
from jqueue.job.log import Log
from jqueue.job.status import FINALIZED, JobStatus, calc_status

Key = int | str

KEY_LIFETIME_S: Final = 86_400.0
"""How long after its job was archived a user's key still names it."""

PACK: Final = "pack/"

LOST: Final = "lost"
"""The fate of a job that was not found: its file was damaged, or removed by hand."""

_COUNT: Final = {status: f"count/{status}" for status in JobStatus}
"""The key that counts the live jobs of a status."""

_KEPT_WHEN_NONE: Final = frozenset({*JOB_KEYS, *OP_KEYS})


class Place(StrEnum):
    """Where a job's file belongs."""

    LIVE = "live"
    ARCHIVE = "archive"
    GONE = "gone"
    QUARANTINE = "quarantine"


class Entry(NamedTuple):
    """A job as the state knows it.

    Its document (None once gone), its place, the LSN that made it so.
    """

    document: Document | None
    place: Place
    lsn: int

    @property
    def live(self) -> bool:
        """Say whether the job is live: not archived, pruned or set aside."""
        return self.place is Place.LIVE


class Lookup(Protocol):
    """Reading access to a state; a job that is nowhere, or a key never set, is None."""

    def find(self, key: Key) -> Any:
        """Return the value of `key`, reading the job's file if need be, or None."""


class Layer:
    """New values over a state that stays as it is: one transaction in the making."""

    __slots__ = ("base", "before", "lsn", "new")

    def __init__(self, base: Lookup, lsn: int) -> None:
        self.base = base
        self.lsn = lsn
        self.new: dict[Key, Any] = {}
        self.before: dict[Key, Any] = {}

    def find(self, key: Key) -> Any:
        """Return the newest value of `key`, or None."""
        if key in self.new:
            return self.new[key]
        if key in self.before:
            return self.before[key]
        value = self.base.find(key)
        self.before[key] = value
        return value

    def job(self, job: int) -> Document | None:
        """Return the document of a live or archived job, or None."""
        entry = self.find(job)
        return None if entry is None else entry.document

    def set(self, key: Key, value: Any) -> None:
        """Give `key` a new value; None means that it has none."""
        if key not in self.before:
            self.before[key] = self.base.find(key)
        self.new[key] = value

    def add(self, key: Key, step: int) -> int:
        """Count `key` up or down, and return what it is now; 0 is no value."""
        new, before = self.new, self.before
        if key in new:
            value = new[key]
        elif key in before:
            value = before[key]
        else:
            value = before[key] = self.base.find(key)
        value = (value or 0) + step
        new[key] = value or None
        return int(value)


def job_dependencies(document: Document) -> set[int]:
    """Return the IDs of all jobs that any opcode of `document` depends on."""
    found: set[int] = set()
    for op in document["ops"]:
        given = op["input"]
        depends = given.get("depends") if isinstance(given, dict) else None
        if depends:
            found.update(target for target, _ in depends if isinstance(target, int))
    return found


def updated(values: Values, base: Document) -> Document:
    """Return `base` with `values` in place.

    None removes a key that Ganeti's format does not have.
    """
    result = {**base, **values}
    if None in values.values():
        for key, value in values.items():
            if value is None and key not in _KEPT_WHEN_NONE:
                del result[key]
    return result


def apply(layer: Layer, change: Change) -> None:
    """Carry out `change` on `layer`.

    Total for every change whose preconditions held; raises ValueError when the change does not fit
    the state at all (an opcode that the job does not have), which is damage or our own bug.
    """
    _APPLY[type(change)](layer, change)


def apply_all(layer: Layer, changes: Iterable[Change]) -> None:
    """Carry out `changes` in order, as `apply` would one by one.

    Changes of one job and its opcodes that follow each other are made at once: a job of 10,000
    opcodes is not copied and judged 10,000 times.  So are new jobs, which are counted together.
    """
    for job, group in groupby(changes, _made_with):
        if job is None:
            for change in group:
                apply(layer, change)
        elif job is Submitted:
            _submit(layer, group)  # type: ignore[arg-type]  # the key says so
        else:
            _update(layer, job, group)  # type: ignore[arg-type]  # as above


Update = OpSet | Started | JobSet


def _made_with(change: Change) -> int | type | None:
    """What changes that are made at once have in common."""
    kind = type(change)
    if kind is Submitted:
        return kind
    return change.job if kind in _UPDATES else None  # type: ignore[union-attr]  # has one


def _known(layer: Layer, job: int) -> tuple[Entry, Document]:
    """Return the entry and the document of a job, live or archived."""
    entry: Entry | None = layer.find(job)
    if entry is None or entry.document is None:
        msg = f"job {job} is not there"
        raise ValueError(msg)
    return entry, entry.document


def _submitted(layer: Layer, change: Submitted) -> None:
    _submit(layer, (change,))


def _submit(layer: Layer, changes: Iterable[Submitted]) -> None:
    """Add new jobs."""
    lsn = layer.lsn
    serial = before = int(layer.find("serial") or 0)
    counts: dict[JobStatus, int] = {}
    for change in changes:
        document = change.document
        job = document["id"]
        entry = Entry({**document, "lsn": lsn}, Place.LIVE, lsn)
        if job <= serial:
            _put(layer, job, entry)
            continue
        # Nobody had this ID before.
        serial = job
        layer.before[job] = None
        layer.new[job] = entry
        status = calc_status(document["ops"])
        counts[status] = counts.get(status, 0) + 1
        if status not in FINALIZED:
            _opened(layer, job, entry)
    for status, count in counts.items():
        layer.add(_COUNT[status], count)
    if serial > before:
        layer.set("serial", serial)


def _updated(layer: Layer, change: Update) -> None:
    _update(layer, change.job, (change,))


def _update(layer: Layer, job: int, updates: Iterable[Update]) -> None:
    """Change values of a job and of its opcodes, in order."""
    old, document = _known(layer, job)
    ops = [*document["ops"]]
    for change in updates:
        if type(change) is JobSet:
            document = updated(change.values, document)
            continue
        at, values = change.op, change.values  # type: ignore[union-attr]  # no JobSet
        if not 0 <= at < len(ops):
            msg = f"job {job} has no opcode {at}"
            raise ValueError(msg)
        if type(change) is Started:
            values = {**values, "token": layer.lsn}
        ops[at] = updated(values, ops[at])
    entry = Entry({**document, "ops": ops, "lsn": layer.lsn}, old.place, layer.lsn)
    _replace(layer, job, old, entry)


def _logged(layer: Layer, change: Logged) -> None:
    _, document = _known(layer, change.job)
    ops = [*document["ops"]]
    op = ops[change.op]
    ops[change.op] = {**op, "log": Log.of(op.get("log")).append(change.entries)}
    entry = Entry({**document, "ops": ops, "lsn": layer.lsn}, Place.LIVE, layer.lsn)
    layer.set(change.job, entry)


def _archived(layer: Layer, change: Archived) -> None:
    _, document = _known(layer, change.job)
    _put(layer, change.job, Entry(document, Place.ARCHIVE, layer.lsn))
    key = document.get("key")
    if key is not None:
        named = layer.find(f"key/{key}")
        if named is not None:
            layer.set(f"key/{key}", {**named, "until": change.at + KEY_LIFETIME_S})


def _pruned(layer: Layer, change: Pruned) -> None:
    _put(layer, change.job, Entry(None, Place.GONE, layer.lsn))


def _quarantined(layer: Layer, change: Quarantined) -> None:
    known = layer.job(change.job) is not None
    _put(layer, change.job, Entry(None, Place.QUARANTINE, layer.lsn))
    if known or change.was is None:
        return
    layer.add(f"count/{change.was}", -1)
    for key in change.named:
        layer.set(key, None)
    if layer.find(f"waited/{change.job}"):
        layer.set(f"fate/{change.job}", LOST)


def _serial_set(layer: Layer, change: SerialSet) -> None:
    if change.serial > (layer.find("serial") or 0):
        layer.set("serial", change.serial)


def _drain_set(layer: Layer, change: DrainSet) -> None:
    layer.set("drain", change.flag)


def _pause_set(layer: Layer, change: PauseSet) -> None:
    layer.set("pause", change.flag)


def _key_set(layer: Layer, change: KeySet) -> None:
    layer.set(f"key/{change.key}", {"jobs": change.jobs, "digest": change.digest})


def _key_dropped(layer: Layer, change: KeyDropped) -> None:
    layer.set(f"key/{change.key}", None)


_UPDATES: Final = frozenset({OpSet, Started, JobSet})
_APPLY: Final[dict[type, Any]] = {
    Submitted: _submitted,
    Started: _updated,
    OpSet: _updated,
    JobSet: _updated,
    Logged: _logged,
    Archived: _archived,
    Pruned: _pruned,
    Quarantined: _quarantined,
    SerialSet: _serial_set,
    DrainSet: _drain_set,
    PauseSet: _pause_set,
    KeySet: _key_set,
    KeyDropped: _key_dropped,
}


def _put(layer: Layer, job: int, entry: Entry) -> None:
    _replace(layer, job, layer.find(job), entry)


def _replace(layer: Layer, job: int, old: Entry | None, entry: Entry) -> None:
    """Give a job its new entry and move the derived values with it."""
    layer.set(job, entry)
    was = live_status(old)
    now = live_status(entry)
    if was is now:
        return
    if was is not None:
        layer.add(_COUNT[was], -1)
    if now is not None:
        layer.add(_COUNT[now], 1)
    was_open = was is not None and was not in FINALIZED
    now_open = now is not None and now not in FINALIZED
    if now_open and not was_open:
        _opened(layer, job, entry)
    elif was_open and not now_open:
        assert old is not None
        assert old.document is not None
        _ended(layer, job, old.document, now)


def live_status(entry: Entry | None) -> JobStatus | None:
    """Return the status of a live job, None for any other."""
    if entry is None or entry.place is not Place.LIVE or entry.document is None:
        return None
    return calc_status(entry.document["ops"])


def is_open(entry: Entry | None) -> bool:
    """Say whether the job is live and unfinished."""
    status = live_status(entry)
    return status is not None and status not in FINALIZED


def _opened(layer: Layer, job: int, entry: Entry) -> None:
    document = entry.document
    assert document is not None
    name = document.get("unique")
    if name is not None:
        layer.set(f"unique/{name}", job)
    repeated = document.get("retry_of")
    if repeated is not None:
        layer.set(f"retry/{repeated}", job)
    for target in job_dependencies(document):
        layer.add(f"waited/{target}", 1)


def _ended(layer: Layer, job: int, document: Document, status: JobStatus | None) -> None:
    name = document.get("unique")
    if name is not None and layer.find(f"unique/{name}") == job:
        layer.set(f"unique/{name}", None)
    repeated = document.get("retry_of")
    if repeated is not None and layer.find(f"retry/{repeated}") == job:
        layer.set(f"retry/{repeated}", None)
    for target in job_dependencies(document):
        if layer.add(f"waited/{target}", -1) == 0 and layer.find(f"fate/{target}") is not None:
            layer.set(f"fate/{target}", None)
    if layer.find(f"waited/{job}"):
        layer.set(f"fate/{job}", str(status or LOST))
