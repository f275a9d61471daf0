"""A job in a list, as every command shows it with `--json`."""

from datetime import datetime
from typing import Any

from jqueue.job.snapshot import Job


def when(moment: datetime | None) -> str | None:
    """Return the moment in ISO 8601, in UTC."""
    return None if moment is None else moment.isoformat()


def row_of(job: Job) -> dict[str, Any]:
    """Return the job as `list --json` shows it."""
    return {
        "id": job.id,
        "status": str(job.status),
        "priority": job.priority,
        "summary": job.summary,
        "archived": job.archived,
        "received": when(job.received),
        "started": when(job.started),
        "ended": when(job.ended),
        "retry_of": job.retry_of,
        "submitter": job.submitter,
        "key": job.key,
        "unique": job.unique,
    }
