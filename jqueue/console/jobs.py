"""Jobs as a table, printed as they come."""

from collections.abc import Iterator
from typing import Any, Final

from jqueue.console.table import put_table
from jqueue.console.terminal import width
from jqueue.console.times import ago, local, now
from jqueue.job import jsonio
from jqueue.job.query.fields import Field
from jqueue.job.query.rows import times_in
from jqueue.job.snapshot import Job, as_datetime

HEADINGS: Final = ("ID", "STATUS", "PRIORITY", "RECEIVED", "SUMMARY")


def put_jobs(jobs: Iterator[Job]) -> None:
    """Print jobs as a table; on a terminal with ages, else with times."""
    at = now() if width() is not None else None

    def cells(job: Job) -> tuple[str, ...]:
        status = f"{job.status}*" if job.archived else str(job.status)
        received = local(job.received) if at is None else ago(job.received, at)
        return str(job.id), status, str(job.priority), received, ", ".join(job.summary)

    put_table(HEADINGS, map(cells, jobs), right=frozenset({"ID", "PRIORITY"}))


def put_fields(fields: list[Field], jobs: Iterator[Job]) -> None:
    """Print these fields of the jobs as a table."""
    headings = [field.title for field in fields]
    numbers = frozenset(field.title for field in fields if field.kind == "number")

    def cells(job: Job) -> list[str]:
        document = job.to_dict()
        return [_shown(field, field.get(document, job.archived)) for field in fields]

    put_table(headings, map(cells, jobs), right=numbers)


def _shown(field: Field, value: Any) -> str:
    if value is None:
        return "-"
    if field.is_time:
        return ", ".join(local(as_datetime(time)) for time in times_in(value))
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else jsonio.dumps(value).decode()
