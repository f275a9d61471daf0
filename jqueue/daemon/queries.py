"""What Ganeti's query methods answer: rows of cells, from one moment of the queue.

A cell is `[state, value]`: 0 normal; 1 there is no such field; 3 not available (the job is not
there or can't be read, a time that is not reached yet).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.errors import InvalidJob
from jqueue.job.change import Document
from jqueue.job.query import GANETI, Field, Filter, unknown_field
from jqueue.job.state import Entry, Place
from jqueue.store.protocol import Snapshot

NORMAL: Final = 0
UNKNOWN: Final = 1
UNAVAILABLE: Final = 3
PIECE_BYTES: Final = 256 << 10
_PLACES: Final = (Place.LIVE, Place.ARCHIVE)


def fields_named(names: Sequence[str]) -> list[Field]:
    """Return the fields of these names, with a stand-in for each that there is not."""
    return [GANETI.get(name) or unknown_field(name) for name in names]


def definitions(fields: Iterable[Field]) -> list[dict[str, str]]:
    """Return how fields are described to a client."""
    return [
        {"name": field.name, "title": field.title, "kind": field.kind, "doc": field.doc}
        for field in fields
    ]


def query_pieces(moment: Snapshot, fields: Sequence[Field], chosen: Filter) -> Iterator[bytes]:
    """Yield the answer to Query in pieces of JSON.  Lets go of the moment at the end."""
    try:
        head = luxi.ascii_json(definitions(fields))
        piece = bytearray(b'{"success":true,"result":{"fields":' + head + b',"data":[')
        separator = b""
        for row in _rows(moment, fields, chosen):
            piece += separator
            piece += luxi.ascii_json(row)
            separator = b","
            if len(piece) > PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece) + b"]}}" + luxi.END
    finally:
        moment.close()


def _rows(moment: Snapshot, fields: Sequence[Field], chosen: Filter) -> Iterator[list[Any]]:
    if chosen.ids is not None:
        for job in sorted(chosen.ids):
            document, archived = read_job(moment, job)
            yield _row(job, document, fields, archived=archived)
        return
    names_archived = chosen.names_archived or any(field.name == "archived" for field in fields)
    for job in moment.job_ids(archived=names_archived):
        document, archived = read_job(moment, job)
        if document is not None and chosen.matches(document, archived):
            yield _row(job, document, fields, archived=archived)


def read_job(moment: Snapshot, job: int) -> tuple[Document | None, bool]:
    """Return a job's document, None if it is not there or can't be read; and if it is archived."""
    entry: Entry | None = moment.find(job)
    if entry is None or entry.document is None or entry.place not in _PLACES:
        return None, False
    return entry.document, entry.place is Place.ARCHIVE


def _row(
    job: int, document: Document | None, fields: Sequence[Field], *, archived: bool
) -> list[list[Any]]:
    return [_cell(job, document, field, archived=archived) for field in fields]


def _cell(job: int, document: Document | None, field: Field, *, archived: bool) -> list[Any]:
    if field.kind == "unknown":
        return [UNKNOWN, None]
    if document is None:
        return [NORMAL, job] if field.name == "id" else [UNAVAILABLE, None]
    value = field.get(document, archived)
    return [UNAVAILABLE, None] if value is None else [NORMAL, value]


def job_rows(moment: Snapshot, ids: Sequence[int], names: Sequence[str]) -> list[list[Any]]:
    """Return the answer to QueryJobs: values only, in the order asked; no IDs mean all live jobs.

    Raises InvalidJob for an unknown field.
    """
    unknown = [name for name in names if name not in GANETI]
    if unknown:
        raise InvalidJob(f"Unknown output fields selected: {', '.join(unknown)[:200]}")
    fields = [GANETI[name] for name in names]
    with moment:
        asked = dict.fromkeys(ids) if ids else moment.job_ids()
        return [values_of(job, *read_job(moment, job), fields) for job in asked]


def values_of(
    job: int, document: Document | None, archived: bool, fields: Iterable[Field]
) -> list[Any]:
    """Return the values of fields; nulls for a job that is not there, but for its ID."""
    if document is None:
        return [job if field.name == "id" else None for field in fields]
    return [field.get(document, archived) for field in fields]
