"""Dependencies between jobs: `depends` is `[[job, [final status, …]], …]`, on an opcode.

An empty list of statuses means any final one but canceled.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from jqueue.errors import InvalidJob
from jqueue.job.status import FINALIZED, JobStatus, parse_status


class Verdict(StrEnum):
    """What the dependencies of an opcode allow."""

    WAIT = "wait"
    CONTINUE = "continue"
    CANCEL = "cancel"
    WRONGSTATUS = "wrongstatus"
    ERROR = "error"


def dependencies_of(op: Mapping[str, Any]) -> list[list[Any]]:
    """The `depends` of an opcode of a document, empty if it has none."""
    given = op["input"]
    depends = given.get("depends") if isinstance(given, dict) else None
    return depends or []


def judge(
    depends: Sequence[Sequence[Any]] | None,
    recorded: Mapping[str, str],
    *,
    own_id: int | None = None,
) -> tuple[Verdict, str]:
    """The verdict on `depends`, in order, and what there is to say about it.

    `recorded` has the status of each job depended on, by its ID as text: final once it ended, any
    other text (`lost`) for one that was not found. An absent one, or one that is not final, waits.
    """
    for job_id, wanted in depends or ():
        if job_id == own_id:
            return Verdict.ERROR, f"job {job_id} depends on itself"
        text = recorded.get(str(job_id))
        status = JobStatus.QUEUED if text is None else parse_status(text)
        if status is None:
            return Verdict.ERROR, f"dependency error: job {job_id} not found ({text})"
        if status not in FINALIZED:
            return Verdict.WAIT, f"waiting for job {job_id}"
        if status in wanted or (not wanted and status is not JobStatus.CANCELED):
            continue
        if status is JobStatus.CANCELED:
            return Verdict.CANCEL, f"dependency job {job_id} was canceled"
        return Verdict.WRONGSTATUS, (
            f"dependency job {job_id} finished with status {status.value!r},"
            f" not one of {', '.join(map(repr, wanted))} as required"
        )
    return Verdict.CONTINUE, "dependencies are met"


def resolve_relative(
    depends: Sequence[Sequence[Any]], index: int, assigned_ids: Sequence[int | None]
) -> list[list[Any]]:
    """`depends` with each −k made the ID of the k-th entry before entry `index`.

    Entries are counted in the submission as given; `assigned_ids` has the IDs of those before, None
    for a refused one. Raises InvalidJob if there is no such entry, or if it was refused.
    """
    resolved: list[list[Any]] = []
    for job_id, wanted in depends:
        if job_id >= 0:
            resolved.append([job_id, wanted])
            continue
        at = index + job_id
        if at < 0:
            raise InvalidJob(
                f"depends on {job_id}, but only {index} entries come before it", field="depends"
            )
        target = assigned_ids[at]
        if target is None:
            raise InvalidJob(f"depends on entry {at}, which was refused", field="depends")
        resolved.append([target, wanted])
    return resolved


def resolve_inputs(
    inputs: Sequence[Mapping[str, Any]], index: int, assigned_ids: Sequence[int | None]
) -> list[dict[str, Any]]:
    """The inputs of entry `index` of a submission with their dependencies made absolute.

    Raises InvalidJob with the opcode's index.
    """
    resolved = []
    for at, given in enumerate(inputs):
        depends = given.get("depends")
        if not depends:
            resolved.append(dict(given))
            continue
        try:
            absolute = resolve_relative(depends, index, assigned_ids)
        except InvalidJob as error:
            raise error.at(at) from error
        resolved.append({**given, "depends": absolute})
    return resolved


def validate_depends(
    inputs: Sequence[Mapping[str, Any]], own_id: int, exists: Callable[[int], bool]
) -> None:
    """Refuse absolute dependencies that can never be met.

    A job may depend on older jobs only: so no cycle can be made. `exists` says whether a job below
    `own_id` is (or will be, in the same submission) there. Raises InvalidJob.
    """
    for at, given in enumerate(inputs):
        for job_id, _ in given.get("depends") or ():
            if job_id == own_id:
                raise InvalidJob(f"job {own_id} depends on itself", index=at, field="depends")
            if job_id > own_id:
                raise InvalidJob(
                    f"depends on job {job_id}, which is above the serial", index=at, field="depends"
                )
            if job_id < 0 or not exists(job_id):
                raise InvalidJob(
                    f"depends on job {job_id}, which does not exist", index=at, field="depends"
                )
