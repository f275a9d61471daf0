"""Jobs as a table: what each column is called, and each job's cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from jqueue.console.secrets import shown_argument, shown_summaries
from jqueue.console.table import put_table
from jqueue.console.terminal import width
from jqueue.console.times import ago, local, now
from jqueue.job import jsonio
from jqueue.job.query.fields import Field
from jqueue.job.query.rows import times_in
from jqueue.job.snapshot import Job, as_datetime

HEADINGS: Final = ("ID", "STATUS", "PRIORITY", "RECEIVED", "SUMMARY")


class Columns(NamedTuple):
    """The columns of a table of jobs.  It can be pickled."""

    fields: Sequence[Field] | None
    """What is shown; None is the usual."""
    at: datetime | None
    """The moment that ages are seen from; without it times are shown."""

    def cells(self, job: Job) -> Sequence[str]:
        """Return a job's row."""
        if self.fields is not None:
            return [_shown(field, _cell(field, job)) for field in self.fields]
        status = f"{job.status}*" if job.archived else str(job.status)
        received = local(job.received) if self.at is None else ago(job.received, self.at)
        return str(job.id), status, str(job.priority), received, shown_summaries(job)

    def put(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows below their headings, as they come."""
        if self.fields is None:
            put_table(HEADINGS, rows, right=frozenset({"ID", "PRIORITY"}))
            return
        numbers = frozenset(field.title for field in self.fields if field.kind == "number")
        put_table([field.title for field in self.fields], rows, right=numbers)


def columns(fields: Sequence[Field] | None = None) -> Columns:
    """Return the columns as they are best here: with ages on a terminal, else with times."""
    return Columns(fields, now() if width() is not None else None)


def put_jobs(jobs: Iterable[Job], fields: Sequence[Field] | None = None) -> None:
    """Print jobs as a table."""
    shown = columns(fields)
    shown.put(map(shown.cells, jobs))


def _cell(field: Field, job: Job) -> Any:
    value = field.get(job.document, job.archived)
    return value if field.is_time else shown_argument(value)


def _shown(field: Field, value: Any) -> str:
    if value is None:
        return "-"
    if field.is_time:
        return ", ".join(local(as_datetime(time)) for time in times_in(value))
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ", ".join(value)
    return value if isinstance(value, str) else jsonio.dumps(value).decode()
