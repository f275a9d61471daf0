"""The spans of a queue's jobs: from their documents, and earlier executions from the journal.

A document holds its opcodes' last execution only; that an earlier one was interrupted, failed or
was given back stands in the records of the journal, which is kept for some days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from archive_tools.journal import records_in
from archive_tools.progress import Advance, unseen
from archive_tools.reading import Read, Sought, worked
from archive_tools.timeline import Attempt, Attempts, Phase, Spans, seconds, worker_of
from jqueue.job.query.choice import Choice
from jqueue.job.snapshot import Job
from jqueue.store.offline import OfflineQueue
from jqueue.store.segment import JOURNAL, segment_numbers

Key = tuple[int, int]


def collect(
    queue: OfflineQueue,
    jobs: Iterable[Sought],
    choice: Choice | None = None,
    advance: Advance = unseen,
) -> Spans:
    """Return what these jobs did, as far as they are chosen, read with all processors.  P13."""
    spans = Spans()
    for part in worked(queue, jobs, partial(_collect_chunk, choice or Choice())):
        spans.merge(part.spans)
        advance(part.looked)
    spans.settle(attempts_of(queue, {document["id"] for document in spans.repeated}))
    return spans


class _Part(NamedTuple):
    spans: Spans
    looked: int


def _collect_chunk(choice: Choice, reads: Iterator[Read]) -> list[_Part]:
    spans = Spans()
    looked = 0
    for read in reads:
        looked += 1
        if read.document is None:
            spans.unreadable += 1
        elif not choice.given or choice.matches(Job(read.document, archived=read.archived)):
            spans.add(read.document)
    return [_Part(spans, looked)]


def attempts_of(queue: OfflineQueue, jobs: Collection[int]) -> Attempts:
    """Return the ended executions of these jobs' opcodes whose end was not the opcode's.

    One segment at a time is in memory; one that was dropped meanwhile tells nothing.
    """
    ended: dict[Key, list[Attempt]] = defaultdict(list)
    if not jobs or not queue.disk.is_dir(JOURNAL):
        return ended
    wanted = frozenset(jobs)
    begun: dict[Key, Attempt] = {}
    last = 0
    for number in segment_numbers(queue.disk):
        for found in records_in(queue.disk, number):
            # A new segment may begin with copies of records of the one before.
            if last < found.lsn <= queue.lsn:
                last = found.lsn
                for change in found.value["changes"]:
                    if change.get("job") in wanted and change.get("kind") in ("started", "op"):
                        _note(change, found.value.get("time") or 0.0, begun, ended)
    return ended


def _note(
    change: dict[str, Any],
    time: float,
    begun: dict[Key, Attempt],
    ended: dict[Key, list[Attempt]],
) -> None:
    key = (change["job"], change["op"])
    values = change["values"]
    if change["kind"] == "started":
        begin = seconds(values.get("exec_timestamp"))
        begun[key] = Attempt(begin or time, time, Phase.RUNNING, worker_of(values))
        return
    if values.get("status") not in ("queued", "waiting") or key not in begun:
        return
    phase = Phase.INTERRUPTED if values.get("interruptions") else Phase.REPEATED
    ended[key].append(begun.pop(key)._replace(end=time, phase=phase))
