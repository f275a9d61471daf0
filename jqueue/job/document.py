"""The document of a job: the plain JSON object that its file holds.

Ganeti's keys, and beside them ours, which are absent when unset:

    job   id ops received_timestamp start_timestamp end_timestamp livelock process_id
          lsn key unique submitter submissions retry_of
    op    input status result log priority start_timestamp exec_timestamp end_timestamp
          attempts interruptions token interruption max_interruptions livelock locks
          dependencies progress parked retry_at base_priority

A document is never changed: `with_job` and `with_op` make new ones that share what is equal.
Keys of others are kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jqueue.errors import InvalidJob
from jqueue.job.change import Document
from jqueue.job.ids import MAX_JOB_ID
from jqueue.job.jsonio import check_storable
from jqueue.job.log import Log
from jqueue.job.parameters import MAX_SECONDS, is_depends, is_number
from jqueue.job.reason import extend
from jqueue.job.state import updated
from jqueue.job.status import PRIORITY_DEFAULT, JobStatus, parse_status

NS_PER_S = 10**9
NS_PER_US = 1000
_US_PER_S = NS_PER_S // NS_PER_US


def timestamp(nanoseconds: int) -> list[int]:
    """A time as Ganeti writes it: `[seconds, microseconds]`."""
    seconds, rest = divmod(nanoseconds, NS_PER_S)
    return [seconds, rest // NS_PER_US]


def new_document(
    job_id: int,
    inputs: Sequence[Mapping[str, Any]],
    *,
    now: int,
    submitter: Mapping[str, int] | None = None,
    key: str | None = None,
    unique: str | None = None,
    retry_of: int | None = None,
    uid: int | None = None,
) -> Document:
    """The document of a job that is submitted at `now`, in nanoseconds.

    `inputs` are normalized, with dependencies made absolute; `submitter` is `{"job", "op"}`; `uid`
    is the submitting user's, for the reason trail.
    """
    who = "" if uid is None else f";uid={uid}"
    document: Document = {
        "id": job_id,
        "ops": [
            _new_op(given, f"job={job_id};index={at}{who}", now) for at, given in enumerate(inputs)
        ],
        "received_timestamp": timestamp(now),
        "start_timestamp": None,
        "end_timestamp": None,
    }
    if submitter is not None:
        document["submitter"] = dict(submitter)
    if key is not None:
        document["key"] = key
    if unique is not None:
        document["unique"] = unique
    if retry_of is not None:
        document["retry_of"] = retry_of
    return document


def _new_op(given: Mapping[str, Any], reason: str, now: int) -> dict[str, Any]:
    trail = extend(given.get("reason"), _source(given["OP_ID"]), reason, now)
    return {
        "input": {**given, "reason": trail},
        "status": "queued",
        "result": None,
        "log": [],
        "priority": given.get("priority") or PRIORITY_DEFAULT,
        "start_timestamp": None,
        "exec_timestamp": None,
        "end_timestamp": None,
    }


@lru_cache(maxsize=1024)
def _source(op_id: str) -> str:
    """What the reason trail calls this kind of opcode."""
    return f"jqueue:opcode:{op_id.removeprefix('OP_').lower()}"


def with_op(document: Document, index: int, /, **values: Any) -> Document:
    """The document with some values of one opcode replaced; None removes a key of ours."""
    ops = [*document["ops"]]
    ops[index] = updated(values, ops[index])
    return {**document, "ops": ops}


def with_job(document: Document, /, **values: Any) -> Document:
    """The document with some values of the job itself replaced; None removes a key of ours."""
    return updated(values, document)


def check_document(value: Any, expect_id: int) -> Document:
    """The document that `value`, read from a file, is; what Ganeti may leave out is filled in.

    Unknown keys and opcode inputs of any kind are kept. Raises InvalidJob, with the opcode's index
    and the field, for what can't be the document of job `expect_id`.
    """
    if not isinstance(value, dict):
        raise InvalidJob(f"a job is a JSON object, not {value!r:.40}")
    if type(value.get("id")) is not int or value["id"] != expect_id:
        raise InvalidJob(f"id is {value.get('id')!r:.40}, expected {expect_id}", field="id")
    ops = value.get("ops")
    if not isinstance(ops, list):
        raise InvalidJob(f"ops must be a list, not {ops!r:.40}", field="ops")
    _check_fields(value, _JOB_CHECKS)
    checked = []
    for index, op in enumerate(ops):
        try:
            checked.append(_check_op(op))
        except InvalidJob as error:
            raise error.at(index) from error
    return {**_completed(value, _JOB_DEFAULTS), "ops": checked}


def _check_op(op: Any) -> dict[str, Any]:
    if not isinstance(op, dict):
        raise InvalidJob(f"an opcode is a JSON object, not {op!r:.40}", field="ops")
    for name in ("input", "status"):
        if name not in op:
            raise InvalidJob(f"{name} is missing", field=name)
    _check_fields(op, _OP_CHECKS)
    given = op["input"]
    depends = given.get("depends") if isinstance(given, dict) else None
    if depends is not None and not is_depends(depends):
        raise InvalidJob(f"depends can't be understood: {depends!r:.80}", field="depends")
    checked = _completed(op, _OP_DEFAULTS)
    return checked if "log" in checked else {**checked, "log": []}


def _completed(value: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value` with what it lacks, in its own order: written again it is the same text."""
    if defaults.keys() <= value.keys():
        return value
    missing = {name: default for name, default in defaults.items() if name not in value}
    return {**value, **missing}


def _check_fields(owner: dict[str, Any], checks: Mapping[str, Callable[[Any], bool]]) -> None:
    find = checks.get
    for name, value in owner.items():
        check = find(name)
        if check is not None and not check(value):
            raise InvalidJob(f"{name} can't be {value!r:.80}", field=name)


def check_said(entries: Iterable[Any]) -> list[Any]:
    """Entries for an opcode's log, `[[s, us], type, message]` each.  Raises InvalidJob."""
    said: list[Any] = check_storable(entries)
    for entry in said:
        if not _is_said(entry):
            text = f"a log entry is [[seconds, microseconds], type, message], not {entry!r:.80}"
            raise InvalidJob(text, field="entries")
    return said


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_JOB_ID


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_timestamp(value: Any) -> bool:
    if value is None:
        return True
    if type(value) is not list or len(value) != 2:  # noqa: PLR2004  # seconds, microseconds
        return False
    seconds, micros = value
    return (
        type(seconds) is int
        and type(micros) is int
        and 0 <= seconds <= MAX_SECONDS
        and 0 <= micros < _US_PER_S
    )


def _is_log(value: Any) -> bool:
    if not isinstance(value, list | Log):
        return False
    for entry in value:
        if type(entry) is not list or len(entry) != 4:  # noqa: PLR2004  # its parts
            return False
        serial, time, kind, _ = entry
        if not (_is_count(serial) and _is_stamp_and_kind(time, kind)):
            return False
    return True


def _is_said(value: Any) -> bool:
    """Whether it is a log entry without its serial: `[time, type, message]`."""
    return (
        type(value) is list
        and len(value) == 3  # noqa: PLR2004  # its parts
        and _is_stamp_and_kind(value[0], value[1])
    )


def _is_stamp_and_kind(time: Any, kind: Any) -> bool:
    return time is not None and _is_timestamp(time) and isinstance(kind, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_submitter(value: Any) -> bool:
    return isinstance(value, dict) and _is_count(value.get("job")) and _is_count(value.get("op"))


def _is_recorded(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(status, str) for status in value.values())


def _is_nullable_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_nullable_count(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_int(value: Any) -> bool:
    return type(value) is int


_JOB_DEFAULTS: Document = {
    "received_timestamp": None,
    "start_timestamp": None,
    "end_timestamp": None,
}

_OP_DEFAULTS: dict[str, Any] = {
    "result": None,
    "priority": PRIORITY_DEFAULT,
    "start_timestamp": None,
    "exec_timestamp": None,
    "end_timestamp": None,
}

_JOB_CHECKS: dict[str, Callable[[Any], bool]] = {
    "received_timestamp": _is_timestamp,
    "start_timestamp": _is_timestamp,
    "end_timestamp": _is_timestamp,
    "livelock": _is_nullable_text,
    "process_id": _is_nullable_count,
    "lsn": _is_count,
    "key": _is_text,
    "unique": _is_text,
    "submitter": _is_submitter,
    "submissions": _is_object,
    "retry_of": _is_count,
}

_OP_CHECKS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: isinstance(parse_status(value), JobStatus),
    "log": _is_log,
    "priority": _is_int,
    "start_timestamp": _is_timestamp,
    "exec_timestamp": _is_timestamp,
    "end_timestamp": _is_timestamp,
    "attempts": _is_count,
    "interruptions": _is_count,
    "token": _is_count,
    "interruption": _is_text,
    "max_interruptions": _is_count,
    "livelock": _is_nullable_text,
    "dependencies": _is_recorded,
    "parked": _is_text,
    "retry_at": is_number,
    "base_priority": _is_int,
}
