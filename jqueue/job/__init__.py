"""The job floor: pure values and functions, with no clock, path, thread or log."""

from jqueue.job.dependency import (
    Verdict,
    dependencies_of,
    judge,
    resolve_inputs,
    resolve_relative,
    validate_depends,
)
from jqueue.job.document import check_document, new_document, timestamp, with_job, with_op
from jqueue.job.failure import encode_error
from jqueue.job.ids import (
    ARCHIVE_DIVISOR,
    JobId,
    Lsn,
    archive_dir,
    job_file_name,
    parse_job_file_name,
    parse_job_id,
)
from jqueue.job.interruption import (
    PARKED_UNKNOWN,
    Interruption,
    interruption_updates,
    is_unresolved,
    resolve_updates,
)
from jqueue.job.log import Log
from jqueue.job.opcode import COMMON_PARAMETERS, OpCode
from jqueue.job.parameters import normalize_job, normalize_op
from jqueue.job.snapshot import Job, Op
from jqueue.job.status import FINALIZED, JobStatus, calc_priority, calc_status, parse_status
from jqueue.job.summary import op_summary
from jqueue.job.transitions import (
    Outcome,
    Updates,
    age_updates,
    archivable,
    cancel,
    cancel_final_updates,
    change_priority,
    finish_updates,
    finished_at,
    next_op,
    not_before,
    requeue_updates,
    retry_inputs,
    set_priority_of,
    start_updates,
    wait_updates,
)

__all__ = [
    "ARCHIVE_DIVISOR",
    "COMMON_PARAMETERS",
    "FINALIZED",
    "PARKED_UNKNOWN",
    "Interruption",
    "Job",
    "JobId",
    "JobStatus",
    "Log",
    "Lsn",
    "Op",
    "OpCode",
    "Outcome",
    "Updates",
    "Verdict",
    "age_updates",
    "archivable",
    "archive_dir",
    "calc_priority",
    "calc_status",
    "cancel",
    "cancel_final_updates",
    "change_priority",
    "check_document",
    "dependencies_of",
    "encode_error",
    "finish_updates",
    "finished_at",
    "interruption_updates",
    "is_unresolved",
    "job_file_name",
    "judge",
    "new_document",
    "next_op",
    "normalize_job",
    "normalize_op",
    "not_before",
    "op_summary",
    "parse_job_file_name",
    "parse_job_id",
    "parse_status",
    "requeue_updates",
    "resolve_inputs",
    "resolve_relative",
    "resolve_updates",
    "retry_inputs",
    "set_priority_of",
    "start_updates",
    "timestamp",
    "validate_depends",
    "wait_updates",
    "with_job",
    "with_op",
]
