"""What opcode inputs must look like at submission: the parameters that all kinds have in common."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jqueue.errors import InvalidJob
from jqueue.job.ids import MAX_JOB_ID, parse_job_id
from jqueue.job.jsonio import check_storable
from jqueue.job.opcode import OpCode
from jqueue.job.reason import MAX_ENTRIES
from jqueue.job.status import FINALIZED, SUBMISSION_PRIORITIES

MAX_OPCODES = 10_000
"""Opcodes of one job. Status and priority of a job are computed from all of them, often."""

MAX_OP_ID_CHARS = 100
"""It is a name in listings, metrics and reason trails."""

MAX_DEPENDS = 10_000
"""Dependencies of one opcode: larger fan-ins need a step in between."""

MAX_RETRIES = 1000
"""More automatic retries than this are a schedule, and belong to a timer."""

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999: beyond it Python has no dates."""

_OP_ID = re.compile(r"OP_[A-Z0-9_]+", re.ASCII)


def normalize_job(
    ops: Iterable[OpCode | Mapping[str, Any]], storable: Callable[[Any], Any] = check_storable
) -> list[dict[str, Any]]:
    """The inputs of a job's opcodes, checked, as plain dicts of their own.

    `storable` makes a plain value of each.  Raises InvalidJob with the opcode's index and the
    parameter's name.
    """
    if type(ops) is not list and not _is_list_of_opcodes(ops):
        raise InvalidJob("a job is a list of opcodes; for one opcode submit [op]")
    inputs = []
    for index, op in enumerate(ops):
        if index == MAX_OPCODES:
            raise InvalidJob(f"a job has at most {MAX_OPCODES} opcodes", index=index)
        try:
            inputs.append(normalize_op(op, storable))
        except InvalidJob as error:
            raise error.at(index) from error
    if not inputs:
        raise InvalidJob("a job needs at least one opcode")
    return inputs


def _is_list_of_opcodes(ops: Any) -> bool:
    return isinstance(ops, Iterable) and not isinstance(ops, OpCode | Mapping | str | bytes)


def normalize_op(
    op: OpCode | Mapping[str, Any], storable: Callable[[Any], Any] = check_storable
) -> dict[str, Any]:
    """The input of one opcode, checked, as a plain dict of its own.

    Absent and null parameters stay as they are: what they mean is decided where they are used.
    Raises InvalidJob with the parameter's name.
    """
    if isinstance(op, OpCode):
        op = op.to_input()
    elif type(op) is not dict and not isinstance(op, Mapping):
        raise InvalidJob(f"an opcode is an OpCode or an object, not a {type(op).__name__}")
    plain: dict[str, Any] = storable(op)
    check_op_id(plain.get("OP_ID"))
    for name, value in plain.items():
        check = _CHECKS.get(name)
        if check is not None and value is not None and not check(value):
            raise InvalidJob(f"{name} must be {_WANTED[name]}, not {value!r:.80}", field=name)
    depends = plain.get("depends")
    if depends:
        plain["depends"] = [[_target(job), wanted] for job, wanted in depends]
    return plain


def check_op_id(op_id: Any) -> None:
    """Raise InvalidJob if it is no name of a kind."""
    if op_id is None:
        raise InvalidJob("an opcode needs an OP_ID", field="OP_ID")
    if not isinstance(op_id, str) or len(op_id) > MAX_OP_ID_CHARS or not _OP_ID.fullmatch(op_id):
        raise InvalidJob(f"OP_ID must look like OP_TEST_DELAY, not {op_id!r:.80}", field="OP_ID")


def is_number(value: Any, least: float = 0) -> bool:
    """Say whether `value` is a number of at least `least`, and no more than a time can be."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= MAX_SECONDS
    )


def is_depends(value: Any) -> bool:
    """Say whether `value` is `[[job, [final status, …]], …]`, with jobs as IDs or as −k."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_DEPENDS
        and all(
            isinstance(entry, list)
            and len(entry) == 2  # noqa: PLR2004  # a pair
            and _is_target(entry[0])
            and isinstance(entry[1], list)
            and all(isinstance(status, str) and status in FINALIZED for status in entry[1])
            for entry in value
        )
    )


def is_reason(value: Any) -> bool:
    """Say whether `value` is a reason trail: `[[source, reason, nanoseconds], …]`."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_ENTRIES
        and all(
            isinstance(entry, list)
            and [type(part) for part in entry] == [str, str, int]
            and entry[2] >= 0
            for entry in value
        )
    )


def _is_target(value: Any) -> bool:
    if type(value) is int:
        return -MAX_JOB_ID <= value <= MAX_JOB_ID and value != 0
    try:
        return parse_job_id(value) > 0
    except InvalidJob:
        return False


def _target(value: int | str) -> int:
    return value if isinstance(value, int) else parse_job_id(value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "comment": lambda value: isinstance(value, str),
    "debug_level": lambda value: type(value) is int,
    "depends": is_depends,
    "dry_run": lambda value: isinstance(value, bool),
    "not_before": is_number,
    "priority": lambda value: type(value) is int and value in SUBMISSION_PRIORITIES,
    "reason": is_reason,
    "retries": lambda value: type(value) is int and 0 <= value <= MAX_RETRIES,
    "timeout_s": lambda value: is_number(value) and value > 0,
}

_WANTED = {
    "comment": "text",
    "debug_level": "an integer",
    "depends": (
        f"a list of at most {MAX_DEPENDS} pairs [job, [final status, …]], each job an ID or −k"
    ),
    "dry_run": "true or false",
    "not_before": "a Unix time in seconds",
    "priority": "-10, 0 or 10",
    "reason": f"a list of at most {MAX_ENTRIES} entries [source, reason, nanoseconds]",
    "retries": f"an integer from 0 to {MAX_RETRIES}",
    "timeout_s": "a number of seconds above 0",
}
