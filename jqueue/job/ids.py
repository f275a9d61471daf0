"""Job IDs and LSNs, and the names of files and directories that follow from them.

Names are always made from the number, never from what somebody wrote.
"""

import re
from typing import Any, NewType

from jqueue.errors import InvalidJob

JobId = NewType("JobId", int)
Lsn = NewType("Lsn", int)
"""A log sequence number: it rises by one with every record, and is never a byte offset."""

ARCHIVE_DIVISOR = 10000
"""Jobs per archive directory, as in Ganeti."""

MAX_JOB_ID = 10**18
"""Far beyond any serial, and within 64 bits with room for arithmetic."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PREFIX = "job-"


def parse_job_id(value: Any) -> JobId:
    """The job ID that `value` means: a non-negative int, or the same as plain decimal text.

    Raises InvalidJob for anything else: `" 7"`, `"1_000"`, `"٣"`, `"007"`, `True`, `7.0`, `-1`.
    """
    if type(value) is int:
        number = value
    elif isinstance(value, str) and _DECIMAL.fullmatch(value):
        number = int(value)
    else:
        raise InvalidJob(f"not a job ID: {value!r:.80}", field="id")
    if not 0 <= number <= MAX_JOB_ID:
        raise InvalidJob(f"not a job ID: {value!r:.80}", field="id")
    return JobId(number)


def job_file_name(job_id: int) -> str:
    """The name of the job's file: `job-12`."""
    return f"{_PREFIX}{job_id:d}"


def parse_job_file_name(name: str) -> JobId | None:
    """The ID whose file name is exactly `name`, or None (`job-01`, `job-1.tmp`)."""
    if not name.startswith(_PREFIX) or not _DECIMAL.fullmatch(name, len(_PREFIX)):
        return None
    number = int(name[len(_PREFIX) :])
    return JobId(number) if number <= MAX_JOB_ID else None


def archive_dir(job_id: int) -> str:
    """The directory of the archived job, below the queue's: `archive/2` for job 20010."""
    known = type(job_id) is int and 0 <= job_id <= MAX_JOB_ID
    number = job_id if known else parse_job_id(job_id)
    return f"archive/{number // ARCHIVE_DIVISOR}"
