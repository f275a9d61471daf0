"""The fields of a job that a query can name: what each is called, and how a document gives it.

`GANETI` are Ganeti's sixteen, which the wire protocol knows; `OWN` are ours beside them, for the
command line and the offline tools.  A field's value is plain JSON; None means that it is not set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from jqueue.errors import InvalidQuery
from jqueue.job.failure import error_text
from jqueue.job.log import Log
from jqueue.job.status import calc_priority, calc_status
from jqueue.job.summary import op_summary

if TYPE_CHECKING:
    # The changes cost more to define than all else here.
    from jqueue.job.change import Document

Kind = Literal["number", "text", "bool", "other", "unknown"]
"""How Ganeti's clients lay a column out; `other` may hold lists."""


class Field(NamedTuple):
    """One field."""

    name: str
    title: str
    kind: Kind
    doc: str
    get: Callable[[Document, bool], Any]
    """The value, from the job's document and whether it is archived."""
    is_time: bool = False
    """Whether values are times `[seconds, microseconds]`, or lists of them."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name: of a field that is one of `ALL`."""
        return field_named, (self.name,)


def _each_op(name: str, default: Any = None) -> Callable[[Document, bool], Any]:
    return lambda job, _: [op.get(name, default) for op in job["ops"]]


def _of_job(name: str) -> Callable[[Document, bool], Any]:
    return lambda job, _: job.get(name)


def _errors(job: Document, _archived: bool) -> list[str]:
    return [error_text(op["result"]) for op in job["ops"] if op["status"] == "error"]


def _kinds(job: Document, _archived: bool) -> list[Any]:
    inputs = [op["input"] for op in job["ops"]]
    return [given.get("OP_ID") if isinstance(given, dict) else None for given in inputs]


def _submitter(job: Document, _archived: bool) -> Any:
    submitter = job.get("submitter")
    return None if submitter is None else submitter["job"]


def _named(fields: Iterable[Field]) -> dict[str, Field]:
    return {field.name: field for field in fields}


GANETI: Final[Mapping[str, Field]] = _named(
    [
        Field("id", "ID", "number", "The job's ID", lambda job, _: job["id"]),
        Field("status", "Status", "text", "Status", lambda job, _: str(calc_status(job["ops"]))),
        Field(
            "priority",
            "Priority",
            "number",
            "Priority as it is now (-20 to 19, lower is more urgent)",
            lambda job, _: calc_priority(job["ops"]),
        ),
        Field("archived", "Archived", "bool", "Whether it is archived", lambda _, at: at),
        Field("ops", "OpCodes", "other", "Inputs of its opcodes", _each_op("input")),
        Field("opresult", "OpCode_result", "other", "Result of each opcode", _each_op("result")),
        Field("opstatus", "OpCode_status", "other", "Status of each opcode", _each_op("status")),
        Field(
            "oplog",
            "OpCode_log",
            "other",
            "Log of each opcode",
            lambda job, _: [Log.of(op.get("log")).flatten() for op in job["ops"]],
        ),
        Field(
            "opstart",
            "OpCode_start",
            "other",
            "When each opcode left the queue (it may wait for locks then)",
            _each_op("start_timestamp"),
            is_time=True,
        ),
        Field(
            "opexec",
            "OpCode_exec",
            "other",
            "When the execution of each opcode began",
            _each_op("exec_timestamp"),
            is_time=True,
        ),
        Field(
            "opend",
            "OpCode_end",
            "other",
            "When each opcode ended",
            _each_op("end_timestamp"),
            is_time=True,
        ),
        Field("oppriority", "OpCode_prio", "other", "Priority of each", _each_op("priority", 0)),
        Field(
            "summary",
            "Summary",
            "other",
            "One line for each opcode",
            lambda job, _: [op_summary(op["input"]) for op in job["ops"]],
        ),
        Field(
            "received_ts",
            "Received",
            "other",
            "When it was submitted (seconds and microseconds)",
            _of_job("received_timestamp"),
            is_time=True,
        ),
        Field(
            "start_ts",
            "Start",
            "other",
            "When its first opcode started (seconds and microseconds)",
            _of_job("start_timestamp"),
            is_time=True,
        ),
        Field(
            "end_ts",
            "End",
            "other",
            "When it ended (seconds and microseconds)",
            _of_job("end_timestamp"),
            is_time=True,
        ),
    ]
)

OWN: Final[Mapping[str, Field]] = _named(
    [
        Field("kinds", "Kinds", "other", "OP_ID of each opcode", _kinds),
        Field("errors", "Errors", "other", "What each failed opcode says", _errors),
        Field(
            "attempts", "Attempts", "other", "Executions of each opcode", _each_op("attempts", 0)
        ),
        Field(
            "interruptions",
            "Interrupted",
            "other",
            "How often the process of each opcode vanished",
            _each_op("interruptions", 0),
        ),
        Field("parked", "Parked", "other", "Why each opcode is set aside", _each_op("parked")),
        Field("progress", "Progress", "other", "Progress of each opcode", _each_op("progress")),
        Field("key", "Key", "text", "Key of the request that submitted it", _of_job("key")),
        Field("unique", "Unique", "text", "Name that only one open job has", _of_job("unique")),
        Field("submitter", "Submitter", "number", "The job that submitted it", _submitter),
        Field("retry_of", "Retry_of", "number", "The job that it repeats", _of_job("retry_of")),
        Field("lsn", "LSN", "number", "Record of its last change", _of_job("lsn")),
    ]
)

ALL: Final[Mapping[str, Field]] = {**GANETI, **OWN}


def field_named(name: str, fields: Mapping[str, Field] = ALL) -> Field:
    """Return the field of this name.  Raises InvalidQuery, with what may have been meant."""
    field = fields.get(name)
    if field is None:
        import difflib  # noqa: PLC0415 - for mistakes alone

        near = difflib.get_close_matches(name, fields, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidQuery(f"Can't find field named {name!r:.80}{hint}", field=name[:80])
    return field


def parse_fields(text: str, default: Iterable[str] = ()) -> list[Field]:
    """Return the fields that `a,b,c` names; `+a,b` adds to the default ones.

    Raises InvalidQuery.
    """
    names = list(default) if text.startswith("+") else []
    names += [name.strip() for name in text.removeprefix("+").split(",")]
    return [field_named(name) for name in names]


def unknown_field(name: str) -> Field:
    """Return a stand-in for a field that isn't there, as Ganeti describes it."""
    return Field(name, name, "unknown", f"Unknown field '{name}'", lambda _job, _at: None)
