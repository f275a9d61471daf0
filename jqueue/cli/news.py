"""What is new of a job that is followed: statuses and log lines, each told once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from jqueue.job.family import named_children
from jqueue.job.snapshot import Job, Op


class Event(NamedTuple):
    """One thing that happened: of an opcode, or of the job where `op` is None."""

    job: int
    op: Op | None = None
    status: str | None = None
    entry: list[Any] | None = None
    child: int | None = None


class News:
    """Knows what was told."""

    def __init__(self) -> None:
        self._statuses: dict[tuple[int, int | None], str] = {}
        self._children: set[int] = set()

    def of(self, job: Job) -> Iterator[Event]:
        """Yield what is new; the job's log entries are new ones.

        An opcode's beginning comes before its log, its end after it, the job's end last.
        """
        if not job.finalized:
            yield from self._status(job, None, str(job.status))
        for op in job.ops:
            ended = op.ended is not None
            if not ended:
                yield from self._status(job, op, str(op.status))
            for entry in op.log:
                yield Event(job.id, op, entry=entry)
            if ended:
                yield from self._status(job, op, str(op.status))
        for child in sorted(named_children(job.document) - self._children):
            self._children.add(child)
            yield Event(job.id, child=child)
        if job.finalized:
            yield from self._status(job, None, str(job.status))

    def _status(self, job: Job, op: Op | None, status: str) -> Iterator[Event]:
        place = job.id, None if op is None else op.index
        if self._statuses.get(place) != status:
            self._statuses[place] = status
            yield Event(job.id, op, status=status)
