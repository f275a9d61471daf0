"""The rows of a list of jobs, made where the jobs are read: in several processes if they are many.

A list in the order of the IDs is a stream, whatever its length.  For another order the rows wait in
a temporary file, and of each job only the value of its field is held.
"""

from __future__ import annotations

import csv
import io
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from tempfile import TemporaryFile
from typing import Any, Final, Literal, NamedTuple

from archive_tools.parallel import CHUNK
from archive_tools.reading import Read, Sought, worked
from jqueue.console.jobs import Columns
from jqueue.job import jsonio
from jqueue.job.query import Choice, Field, fields_row, in_order
from jqueue.job.row import row_of
from jqueue.job.snapshot import Job
from jqueue.store.offline import OfflineQueue

Form = Literal["json", "ndjson", "csv", "table"]
_BETWEEN: Final = {"json": b",\n", "ndjson": b"\n"}

CSV_FIELDS: Final = (
    *("id", "status", "priority", "summary", "archived", "received", "started", "ended"),
    *("retry_of", "submitter", "key", "unique"),
)
"""The members of `row_of`."""


class Part(NamedTuple):
    """Of some jobs that follow each other: their rows, how many were looked at, what is missing."""

    rows: Any
    """Bytes, or for a table the cells of each."""
    chosen: int
    looked: int
    missing: list[int]


class Rows(NamedTuple):
    """Which jobs become rows, and how.  It can be pickled."""

    choice: Choice
    form: Form
    columns: Columns

    def parts(self, reads: Iterable[Read]) -> list[Part]:
        """Return the rows of these jobs: one part."""
        jobs = Chosen(self.choice, reads)
        rows = self._together(map(self._encoder(), jobs))
        return [Part(rows, jobs.chosen, jobs.looked, jobs.missing)]

    def keyed(self, field: Field, reads: Iterable[Read]) -> list[Part]:
        """Return the row of each of these jobs, as bytes, after the value of a field: one part."""
        jobs = Chosen(self.choice, reads)
        encoded = self._encoder()
        rows = []
        for job in jobs:
            row = jsonio.dumps(list(encoded(job))) if self._in_cells else encoded(job)
            rows.append((_key(field, job), row))
        return [Part(rows, jobs.chosen, jobs.looked, jobs.missing)]

    def again(self, rows: list[bytes]) -> Part:
        """Return a part of rows that `keyed` made."""
        told = map(jsonio.loads, rows) if self._in_cells else rows
        return Part(self._together(told), len(rows), 0, [])

    @property
    def _in_cells(self) -> bool:
        return self.form in ("table", "csv")

    def _encoder(self) -> Callable[[Job], Any]:
        """Return what makes a row of a job: bytes, or cells."""
        if self.form == "table":
            return self.columns.cells
        fields = self.columns.fields
        as_row = row_of if fields is None else fields_row(fields)
        if self.form == "csv":
            return lambda job: map(_cell, as_row(job).values())
        return lambda job: jsonio.dumps(as_row(job))

    def _together(self, rows: Iterable[Any]) -> Any:
        if self.form == "table":
            return list(rows)
        return _csv(rows) if self.form == "csv" else _BETWEEN[self.form].join(rows)


def csv_heading(fields: Sequence[Field] | None) -> bytes:
    """Return the first line of a list as CSV."""
    names = CSV_FIELDS if fields is None else [field.name for field in fields]
    return _csv([names])


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    """Return rows of cells as in RFC 4180, but with plain line ends."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """Return what stands for a value: for a list of texts these, for other structures JSON."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "; ".join(value)
    return jsonio.dumps(value).decode() if isinstance(value, list | dict | bool) else value


def rows_of(
    queue: OfflineQueue,
    jobs: Iterable[Sought],
    rows: Rows,
    sort: tuple[Field, bool] | None = None,
) -> Iterator[Part]:
    """Yield the rows of `jobs`, in the order of a field (descending or not) or as they come."""
    if sort is None or (sort[0].name == "id" and not sort[1]):
        yield from worked(queue, jobs, rows.parts)
        return
    field, descending = sort
    keyed: list[tuple[Any, int]] = []
    ends = array("Q", [0])
    with TemporaryFile(prefix="jqueue-list-") as file:
        for part in worked(queue, jobs, partial(rows.keyed, field)):
            for value, row in part.rows:
                keyed.append((value, len(keyed)))
                ends.append(ends[-1] + file.write(row))
            yield part._replace(rows=None, chosen=0)
        file.flush()
        order = in_order(keyed, descending=descending)
        del keyed
        for at in range(0, len(order), CHUNK):
            places = [(ends[number], ends[number + 1]) for number in order[at : at + CHUNK]]
            yield rows.again([os.pread(file.fileno(), end - begin, begin) for begin, end in places])


def _key(field: Field, job: Job) -> Any:
    """Return what a job is ordered by; a time as one number, which is small."""
    value = field.get(job.document, job.archived)
    match value:
        case [int(seconds), int(micros)] if field.is_time:
            return seconds * 1_000_000 + micros
    return value


class Chosen:
    """The jobs that are chosen, as they are read, and what is said of all that were looked at."""

    def __init__(self, choice: Choice, reads: Iterable[Read]) -> None:
        self._choice = choice
        self._reads = reads
        self.chosen = 0
        self.looked = 0
        self.missing: list[int] = []

    def __iter__(self) -> Iterator[Job]:
        """Yield them, once."""
        all_of_them = not self._choice.given
        for job, document, archived in self._reads:
            self.looked += 1
            if document is None:
                self.missing.append(job)
                continue
            found = Job(document, archived=archived)
            if all_of_them or self._choice.matches(found):
                self.chosen += 1
                yield found
