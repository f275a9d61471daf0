"""Every change of a queue's state, as small plain data.

A change says *what happened*, never how an engine stores it; `jqueue.job.state.apply` is the one
function that carries it out, in live operation and in replay.  On the wire and in the journal a
change is a JSON object whose first member is its `kind`.

Nobody changes a change.  They are plain dataclasses all the same: frozen ones take three times as
long to make, and those with slots four times as long to encode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]
"""One job file as plain JSON data, treated as immutable: whoever changes one makes a new one."""

Values = dict[str, Any]


@dataclass
class Submitted:
    """A new job; its ID becomes the serial."""

    kind: Literal["submitted"] = field(default="submitted", kw_only=True)
    document: Document

    @property
    def job(self) -> int:
        """The new job's ID."""
        return int(self.document["id"])


@dataclass
class Started:
    """An opcode begins; the LSN of the record that says so becomes its token."""

    kind: Literal["started"] = field(default="started", kw_only=True)
    job: int
    op: int
    values: Values


@dataclass
class OpSet:
    """Some values of one opcode are replaced.

    A value of None removes a key of ours, and is null in Ganeti's.
    """

    kind: Literal["op"] = field(default="op", kw_only=True)
    job: int
    op: int
    values: Values


@dataclass
class JobSet:
    """Some values of the job itself are replaced, as in `OpSet`."""

    kind: Literal["job"] = field(default="job", kw_only=True)
    job: int
    values: Values


@dataclass
class Logged:
    """Entries `[serial, [s, us], type, message]` are added to an opcode's log."""

    kind: Literal["log"] = field(default="log", kw_only=True)
    job: int
    op: int
    entries: list[Any]


@dataclass
class Archived:
    """A finalized job moves to the archive; `at` is in Unix seconds."""

    kind: Literal["archived"] = field(default="archived", kw_only=True)
    job: int
    at: float


@dataclass
class Pruned:
    """A finalized job is removed for good."""

    kind: Literal["pruned"] = field(default="pruned", kw_only=True)
    job: int


@dataclass
class Quarantined:
    """A damaged job file is set aside; its ID is never given out again.

    What its document can't say any more stands here: the status under which it was counted, if it
    was, and the keys of the state that named it.
    """

    kind: Literal["quarantined"] = field(default="quarantined", kw_only=True)
    job: int
    file: str
    reason: str
    was: str | None = None
    named: Sequence[str] = ()


@dataclass
class SerialSet:
    """The last job ID given out, when no `Submitted` says it."""

    kind: Literal["serial"] = field(default="serial", kw_only=True)
    serial: int


@dataclass
class DrainSet:
    """`flag` is `{"reason", "by", "since"}`, or None for an open queue."""

    kind: Literal["drain"] = field(default="drain", kw_only=True)
    flag: Values | None


@dataclass
class PauseSet:
    """`flag` as in `DrainSet`; while it is set no opcode starts."""

    kind: Literal["pause"] = field(default="pause", kw_only=True)
    flag: Values | None


@dataclass
class KeySet:
    """A user's idempotency key now names these jobs; `digest` tells a repeat from a conflict."""

    kind: Literal["key"] = field(default="key", kw_only=True)
    key: str
    jobs: list[Any]
    digest: str


@dataclass
class KeyDropped:
    """A key is forgotten."""

    kind: Literal["unkey"] = field(default="unkey", kw_only=True)
    key: str


Change = (
    Submitted
    | Started
    | OpSet
    | JobSet
    | Logged
    | Archived
    | Pruned
    | Quarantined
    | SerialSet
    | DrainSet
    | PauseSet
    | KeySet
    | KeyDropped
)

KINDS: dict[str, type[Change]] = {
    "submitted": Submitted,
    "started": Started,
    "op": OpSet,
    "job": JobSet,
    "log": Logged,
    "archived": Archived,
    "pruned": Pruned,
    "quarantined": Quarantined,
    "serial": SerialSet,
    "drain": DrainSet,
    "pause": PauseSet,
    "key": KeySet,
    "unkey": KeyDropped,
}


def decode_change(value: dict[str, Any]) -> Change:
    """Return the change that `value`, a JSON object, stands for.

    Raises ValueError for an unknown kind or members that do not fit.
    """
    members = dict(value)
    kind = members.pop("kind", None)
    made = KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        msg = f"unknown kind of change {kind!r}"
        raise ValueError(msg)
    try:
        return made(**members)
    except TypeError as error:
        msg = f"change {kind!r}: {error}"
        raise ValueError(msg) from error


def touched_job(change: Change) -> int | None:
    """Return the ID of the job that `change` is about, or None."""
    return getattr(change, "job", None)


def touched_jobs(changes: Iterable[Change]) -> list[int]:
    """Return the IDs of the jobs that the changes are about, each once."""
    jobs = dict.fromkeys(map(touched_job, changes))
    jobs.pop(None, None)
    return list(jobs)  # type: ignore[arg-type]  # None is out
