"""What is different: between two documents of a job, two moments, two directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from archive_tools.reading import Read, read_jobs, seek, seek_all
from jqueue.console.secrets import summaries_of
from jqueue.job.change import Document
from jqueue.job.status import calc_priority, calc_status
from jqueue.store.offline import OfflineQueue

IGNORED: Final = frozenset({"lsn"})
"""What a file says of itself, not of its job."""


class Delta(NamedTuple):
    """A value that is another: of opcode `op`, or of the job itself.

    For `log`, `old` is the number of entries that both have, and `new` are the further ones.
    """

    op: int | None
    key: str
    old: Any
    new: Any


class Difference(NamedTuple):
    """`what` is "left" or "right" for a job that is only there, "changed", or a flag's name."""

    what: str
    job: int | None
    text: str
    deltas: list[Delta]


def deltas_of(old: Document, new: Document) -> Iterator[Delta]:
    """Yield what is different in two documents of one job."""
    before, after = old["ops"], new["ops"]
    yield from _values(None, _judged(before), _judged(after))
    yield from _values(None, old, new)
    nothing: Document = {}
    for at, (was, now) in enumerate(zip_longest(before, after, fillvalue=nothing)):
        yield from _values(at, was, now)


def _judged(ops: list[Document]) -> Document:
    return {"status": str(calc_status(ops)), "priority": calc_priority(ops)}


def _values(op: int | None, old: Document, new: Document) -> Iterator[Delta]:
    for key in dict.fromkeys((*old, *new)):
        was, now = old.get(key), new.get(key)
        if was == now or key in IGNORED or key == "ops":
            continue
        if key == "log" and op is not None:
            was, now = list(was or ()), list(now or ())
            if was == now[: len(was)]:
                yield Delta(op, key, len(was), now[len(was) :])
                continue
        yield Delta(op, key, was, now)


def compare(left: OfflineQueue, right: OfflineQueue, *, same: bool) -> Iterator[Difference]:
    """Yield what is different in two queues, or in the `same` one at two moments."""
    for key in ("serial", "drain", "pause"):
        was, now = left.find(key), right.find(key)
        if (was or None) != (now or None) or (was is None) != (now is None):
            yield Difference(key, None, key, [Delta(None, key, was, now)])
    if same:
        # All that no record between the two moments touches is the same.
        early = min(left, right, key=lambda queue: queue.lsn)
        early.moment.advance()
        ids = sorted(job for job, _ in early.moment.places())
        yield from _compare(_read(left, ids), _read(right, ids))
    else:
        yield from _compare(_read(left, None), _read(right, None))


def _read(queue: OfflineQueue, ids: list[int] | None) -> Iterator[Read]:
    for read in read_jobs(queue.moment, seek_all(queue) if ids is None else seek(queue, ids)):
        # Of those that were asked for by ID some are nowhere.
        if ids is None or read.document is not None or read.archived:
            yield read


def _compare(left: Iterable[Read], right: Iterable[Read]) -> Iterator[Difference]:
    lefts, rights = iter(left), iter(right)
    here, there = next(lefts, None), next(rights, None)
    while here is not None or there is not None:
        if there is None or (here is not None and here.job < there.job):
            assert here is not None
            yield Difference("left", here.job, _text(here), [])
            here = next(lefts, None)
        elif here is None or there.job < here.job:
            yield Difference("right", there.job, _text(there), [])
            there = next(rights, None)
        else:
            if deltas := list(_changed(here, there)):
                yield Difference("changed", here.job, _text(there), deltas)
            here, there = next(lefts, None), next(rights, None)


def _changed(here: Read, there: Read) -> Iterator[Delta]:
    if here.archived != there.archived:
        yield Delta(None, "archived", here.archived, there.archived)
    if here.document is None or there.document is None:
        if here.document is not there.document:
            readable = [read.document is not None for read in (here, there)]
            yield Delta(None, "readable", *readable)
    else:
        yield from deltas_of(here.document, there.document)


def _text(read: Read) -> str:
    if read.document is None:
        return "can't be read"
    ops = read.document["ops"]
    return f"{calc_status(ops)}  {summaries_of(ops)}"
