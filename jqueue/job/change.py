"""Every change of a queue's state, as small plain data.

A change says *what happened*, never how an engine stores it; `jqueue.job.state.apply` is the one
function that carries it out, in live operation and in replay.  On the wire and in the journal a
change is a JSON object whose first member is its `kind`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]
"""One job file as plain JSON data, treated as immutable: whoever changes one makes a new one."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A new job; its ID becomes the serial."""

    kind: Literal["submitted"] = field(init=False, default="submitted")
    document: Document


@dataclass(frozen=True, slots=True)
class Started:
    """An opcode begins; the LSN of the record that says so becomes its token."""

    kind: Literal["started"] = field(init=False, default="started")
    job: int
    op: int
    values: Values


@dataclass(frozen=True, slots=True)
class OpSet:
    """Some values of one opcode are replaced.

    A value of None removes a key of ours, and is null in Ganeti's.
    """

    kind: Literal["op"] = field(init=False, default="op")
    job: int
    op: int
    values: Values


@dataclass(frozen=True, slots=True)
class JobSet:
    """Some values of the job itself are replaced, as in `OpSet`."""

    kind: Literal["job"] = field(init=False, default="job")
    job: int
    values: Values


@dataclass(frozen=True, slots=True)
class Logged:
    """Entries `[serial, [s, us], type, message]` are added to an opcode's log."""

    kind: Literal["log"] = field(init=False, default="log")
    job: int
    op: int
    entries: list[Any]


@dataclass(frozen=True, slots=True)
class Archived:
    """A finalized job moves to the archive; `at` is in Unix seconds."""

    kind: Literal["archived"] = field(init=False, default="archived")
    job: int
    at: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """A finalized job is removed for good."""

    kind: Literal["pruned"] = field(init=False, default="pruned")
    job: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A damaged job file is set aside; its ID is never given out again.

    What its document can't say any more stands here: the status under which it was counted, if it
    was, and the keys of the state that named it.
    """

    kind: Literal["quarantined"] = field(init=False, default="quarantined")
    job: int
    file: str
    reason: str
    was: str | None = None
    named: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SerialSet:
    """The last job ID given out, when no `Submitted` says it."""

    kind: Literal["serial"] = field(init=False, default="serial")
    serial: int


@dataclass(frozen=True, slots=True)
class DrainSet:
    """`flag` is `{"reason", "by", "since"}`, or None for an open queue."""

    kind: Literal["drain"] = field(init=False, default="drain")
    flag: Values | None


@dataclass(frozen=True, slots=True)
class PauseSet:
    """`flag` as in `DrainSet`; while it is set no opcode starts."""

    kind: Literal["pause"] = field(init=False, default="pause")
    flag: Values | None


@dataclass(frozen=True, slots=True)
class KeySet:
    """A user's idempotency key now names these jobs; `digest` tells a repeat from a conflict."""

    kind: Literal["key"] = field(init=False, default="key")
    key: str
    jobs: list[Any]
    digest: str


@dataclass(frozen=True, slots=True)
class KeyDropped:
    """A key is forgotten."""

    kind: Literal["unkey"] = field(init=False, default="unkey")
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
    if type(change) is Submitted:
        return int(change.document["id"])
    return getattr(change, "job", None)
