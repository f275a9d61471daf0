"""Frozen views of a job and its opcodes, for whoever uses the queue.

A view holds the document and computes when asked, so that making 100,000 of them costs little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from jqueue.job.log import Log
from jqueue.job.status import FINALIZED, JobStatus, calc_priority, calc_status
from jqueue.job.summary import INVALID_OP, op_summary

if TYPE_CHECKING:
    # The changes cost more to define than all else here.
    from jqueue.job.change import Document

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def as_datetime(timestamp: list[int] | None) -> datetime | None:
    """The aware UTC time that `[seconds, microseconds]` means; None stays None."""
    if timestamp is None:
        return None
    return _EPOCH + timedelta(seconds=timestamp[0], microseconds=timestamp[1])


class _Frozen:
    """Shared by both views: nothing can be set or deleted once they are made."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is a snapshot: {name} can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is a snapshot: {name} can't be deleted")


_set = object.__setattr__


class Op(_Frozen):
    """One opcode of a job, as it was when the job was read."""

    __slots__ = ("_op", "index")

    index: int
    _op: Mapping[str, Any]

    def __init__(self, op: Mapping[str, Any], index: int) -> None:
        _set(self, "_op", op)
        _set(self, "index", index)

    @property
    def op_id(self) -> str:
        """The kind, as `OP_TEST_DELAY`; `INVALID_OP` if the input names none."""
        op_id = self._op["input"].get("OP_ID") if isinstance(self._op["input"], dict) else None
        return op_id if isinstance(op_id, str) else INVALID_OP

    @property
    def input(self) -> Any:
        """The parameters with their OP_ID, as submitted."""
        return self._op["input"]

    @property
    def status(self) -> JobStatus:
        """The opcode's own status."""
        return JobStatus(self._op["status"])

    @property
    def result(self) -> Any:
        """What the unit returned; for an error `[class, [text, …]]`; None before the end."""
        return self._op["result"]

    @property
    def log(self) -> list[Any]:
        """The log entries `[serial, [s, us], type, message]`."""
        return Log.of(self._op["log"]).flatten()

    @property
    def priority(self) -> int:
        """The priority as it is now, aging included."""
        return int(self._op["priority"])

    @property
    def summary(self) -> str:
        """One line: `TEST_DELAY(0.2)`."""
        return op_summary(self._op["input"])

    @property
    def started(self) -> datetime | None:
        """When the opcode left the queue, to wait or to run."""
        return as_datetime(self._op["start_timestamp"])

    @property
    def executed(self) -> datetime | None:
        """When its execution began."""
        return as_datetime(self._op["exec_timestamp"])

    @property
    def ended(self) -> datetime | None:
        """When it ended."""
        return as_datetime(self._op["end_timestamp"])

    @property
    def attempts(self) -> int:
        """How many times its execution began."""
        return int(self._op.get("attempts", 0))

    @property
    def interruptions(self) -> int:
        """How many times the process that executed it vanished."""
        return int(self._op.get("interruptions", 0))

    @property
    def token(self) -> int | None:
        """The LSN of the record that started it last."""
        return self._op.get("token")

    @property
    def progress(self) -> Any:
        """What the unit last said about its progress, or None."""
        return self._op.get("progress")

    @property
    def parked(self) -> str | None:
        """Why it is set aside until a person decides, or None."""
        return self._op.get("parked")

    def to_dict(self) -> dict[str, Any]:
        """The opcode's raw document."""
        return {**self._op, "log": self.log}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Op):
            return NotImplemented
        return self._op == other._op and self.index == other.index

    __hash__ = None  # type: ignore[assignment]  # it holds JSON, which has no hash

    def __repr__(self) -> str:
        return f"<Op {self.index} {self.summary} {self.status}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Op, (self._op, self.index)


class Job(_Frozen):
    """One job, as it was when it was read."""

    __slots__ = ("_document", "archived")

    archived: bool
    _document: Document

    def __init__(self, document: Document, *, archived: bool = False) -> None:
        _set(self, "_document", document)
        _set(self, "archived", archived)

    @property
    def document(self) -> Document:
        """The document itself, not to be changed: `to_dict` is a copy."""
        return self._document

    @property
    def id(self) -> int:
        """The job's ID."""
        return int(self._document["id"])

    @property
    def status(self) -> JobStatus:
        """The job's status, which follows from its opcodes'."""
        return calc_status(self._document["ops"])

    @property
    def finalized(self) -> bool:
        """Whether the job has ended, and so never changes."""
        return self.status in FINALIZED

    @property
    def priority(self) -> int:
        """The most urgent priority among its unfinished opcodes."""
        return calc_priority(self._document["ops"])

    @property
    def ops(self) -> tuple[Op, ...]:
        """Its opcodes."""
        return tuple(Op(op, index) for index, op in enumerate(self._document["ops"]))

    @property
    def summary(self) -> list[str]:
        """One line for each opcode."""
        return [op_summary(op["input"]) for op in self._document["ops"]]

    @property
    def received(self) -> datetime | None:
        """When it was submitted."""
        return as_datetime(self._document["received_timestamp"])

    @property
    def started(self) -> datetime | None:
        """When its first opcode started."""
        return as_datetime(self._document["start_timestamp"])

    @property
    def ended(self) -> datetime | None:
        """When it ended."""
        return as_datetime(self._document["end_timestamp"])

    @property
    def retry_of(self) -> int | None:
        """The job that this one repeats, or None."""
        return self._document.get("retry_of")

    @property
    def submitter(self) -> dict[str, int] | None:
        """The opcode that submitted it, as `{"job", "op"}`, or None."""
        return self._document.get("submitter")

    @property
    def key(self) -> str | None:
        """The key of the request that submitted it, or None."""
        return self._document.get("key")

    @property
    def unique(self) -> str | None:
        """The name that only one unfinished job may have, or None."""
        return self._document.get("unique")

    @property
    def lsn(self) -> int:
        """The LSN that this view reflects; 0 for a job of Ganeti's that was never changed here."""
        return int(self._document.get("lsn", 0))

    def after(self, shown: Sequence[int]) -> Job:
        """The job without the first so many log entries of each of its opcodes."""
        ops = [*self._document["ops"]]
        for at, count in enumerate(shown[: len(ops)]):
            ops[at] = {**ops[at], "log": Log.of(ops[at]["log"])[count:]}
        return Job({**self._document, "ops": ops}, archived=self.archived)

    def to_dict(self) -> dict[str, Any]:
        """The raw document."""
        return {**self._document, "ops": [op.to_dict() for op in self.ops]}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return self._document == other._document and self.archived == other.archived

    __hash__ = None  # type: ignore[assignment]  # it holds JSON, which has no hash

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.status} {', '.join(self.summary):.200}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _job, (self._document, self.archived)


def _job(document: Document, archived: bool) -> Job:
    return Job(document, archived=archived)
