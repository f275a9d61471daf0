"""Archiving by itself what ended long enough ago: in small steps, when the next job is due.

Job IDs rise with the time of submission and no job ends before it was submitted.  So live jobs are
looked at once, in order of their IDs, and only as far as they were submitted long enough ago (the
*frontier*); those that ended later than that are noted with the time when they are due, eight bytes
each.  Nothing is listed again: what ends behind the frontier is noted by its commit.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final

from jqueue.errors import JQueueError
from jqueue.execution.loop import Loop
from jqueue.job.change import Document, JobSet
from jqueue.job.snapshot import as_datetime
from jqueue.job.state import Entry, is_open
from jqueue.job.transitions import finished_at
from jqueue.queue.clock import NS_PER_S
from jqueue.queue.core import QueueCore
from jqueue.queue.operating import archive_many
from jqueue.queue.reading import finished_ids
from jqueue.store.protocol import Batch

_log = logging.getLogger(__name__)

STEP: Final = 50
"""Jobs looked at, and archived by one transaction: it reads their files under the ledger's mutex,
some 2 ms together."""
PAUSE_S: Final = 0.02
"""Between two steps, while there is more: commits get their turn."""
FIRST_LOOK_S: Final = 5.0
"""After the start, when there is other work."""
RETRY_S: Final = 60.0
SLACK_S: Final = 0.001
"""Who is due is old enough for the rule too, however their sums are rounded."""
LOOK_AGAIN_S: Final = 3600.0
"""No look is farther away: clocks are set."""


class Agenda:
    """Jobs by the time when they are due, in slots of `slot_s`; a job may stand there twice."""

    def __init__(self, slot_s: float) -> None:
        self._slot_s = slot_s
        self._slots: dict[int, array[int]] = {}
        self._order: list[int] = []

    def add(self, job: int, at_s: float) -> None:
        """Note that the job is due then: never earlier, up to a slot later."""
        slot = math.ceil(at_s / self._slot_s)
        if slot not in self._slots:
            self._slots[slot] = array("Q")
            heapq.heappush(self._order, slot)
        self._slots[slot].append(job)

    def take(self, now_s: float, most: int) -> list[int]:
        """Return up to so many that are due; they stand here no more."""
        taken: list[int] = []
        while self._order and self._order[0] * self._slot_s <= now_s and len(taken) < most:
            jobs = self._slots[self._order[0]]
            first = max(len(jobs) - (most - len(taken)), 0)
            taken.extend(jobs[first:])
            del jobs[first:]
            if not jobs:
                del self._slots[heapq.heappop(self._order)]
        return taken

    def next_s(self) -> float:
        """Return when the next is due; infinity if nothing is."""
        return self._order[0] * self._slot_s if self._order else math.inf


class Archiver:
    """Archives the jobs of one queue `age_s` after their end."""

    def __init__(self, core: QueueCore, age_s: float) -> None:
        self._core = core
        self._age_s = age_s
        # So many slots a day that a record archives many jobs, and few wait for their neighbours.
        self._due = Agenda(min(max(age_s / 1440, 1.0), 60.0))
        self._mutex = threading.Lock()
        """Held over a step; `_noting` over the agenda."""
        self._noting = threading.Lock()
        self._known: float = math.inf
        """Jobs up to here that end are noted: they were looked at, or open at the first look."""
        self._ids: Iterator[int] | None = None
        self._next: int | None = None
        self._closed = False
        self._undo: Callable[[], None] = core.store.subscribe(self._note)

    def run(self, loop: Loop, threads: Executor) -> None:
        """Take steps on a thread, by the loop's timer, until `close`."""

        def take_step() -> None:
            delay_s = self.step()
            loop.call_threadsafe(lambda: arm(delay_s))

        def begin() -> None:
            if not self._closed:
                threads.submit(take_step)

        def arm(delay_s: float) -> None:
            loop.call_later(delay_s, begin)

        arm(FIRST_LOOK_S)

    def step(self) -> float:
        """Archive what is due, as far as a step goes; return how long it is to the next."""
        with self._mutex:
            if self._closed:
                return LOOK_AGAIN_S
            now_s = self._core.clock.now_ns() / NS_PER_S
            with self._noting:
                due = self._due.take(now_s, STEP)
            try:
                more, next_s = self._advance(due, now_s)
                if due:
                    self._archive(due, now_s)
            except JQueueError as error:
                _log.warning("jobs can't be archived for now: %s", error)
                with self._noting:
                    for job in due:
                        self._due.add(job, now_s + RETRY_S)
                return RETRY_S
            with self._noting:
                next_s = min(next_s, self._due.next_s())
        return PAUSE_S if more else min(max(next_s - now_s, 1.0), self._age_s, LOOK_AGAIN_S)

    def _archive(self, due: list[int], now_s: float) -> None:
        before = int((now_s - self._age_s) * NS_PER_S)
        now = self._core.clock.now_ns()
        archived = self._core.ask(archive_many(due, ended_before=before, now=now))
        _log.debug("archived: %d jobs", archived)

    def _advance(self, due: list[int], now_s: float) -> tuple[bool, float]:
        """Look at the jobs that the frontier passes: add to `due` those that are.

        Return whether there are more to be looked at now, and when the next can be due.
        """
        for _ in range(STEP):
            if len(due) >= STEP:
                return True, now_s
            job = self._peek()
            if job is None:
                return False, math.inf
            document = self._finished(job)
            if document is not None:
                received = as_datetime(document.get("received_timestamp"))
                earliest_s = received.timestamp() + self._age_s if received is not None else 0.0
                # One of the future was made under a wrong clock, and says nothing of those after.
                if now_s < earliest_s <= now_s + self._age_s:
                    return False, earliest_s
                self._place(job, document, due, now_s)
            self._next = None
        return True, now_s

    def _peek(self) -> int | None:
        """Return the next job behind the frontier; None if none was submitted since."""
        if self._ids is None:
            with self._core.store.snapshot() as moment:
                last = moment.find("serial") or 0
                old = array("Q", finished_ids(moment))
            self._ids = itertools.chain(old, itertools.count(last + 1))
            self._known = last
        if self._next is None:
            self._next = next(self._ids)
        return self._next if self._next <= (self._core.store.find("serial") or 0) else None

    def _finished(self, job: int) -> Document | None:
        """Return the document of a live job, if it has ended; else its end will be noted."""
        # Before the look: what ends after it is noted, what ended before it is seen.
        self._known = max(self._known, job)
        entry: Entry | None = self._core.store.find(job)
        if entry is None or not entry.live or is_open(entry):
            return None
        return entry.document

    def _place(self, job: int, document: Document, due: list[int], now_s: float) -> None:
        due_s = (finished_at(document) or 0.0) + self._age_s + SLACK_S
        if due_s <= now_s:
            due.append(job)
        else:
            with self._noting:
                self._due.add(job, due_s)

    def _note(self, batch: Batch) -> None:
        """Learn what has ended; on whatever thread tells."""
        for change in batch.changes:
            if type(change) is JobSet and change.job <= self._known:
                ended = change.values.get("end_timestamp")
                if ended is not None:
                    due_s = ended[0] + ended[1] / 1e6 + self._age_s + SLACK_S
                    with self._noting:
                        self._due.add(change.job, due_s)

    def close(self) -> None:
        """Archive no more; a step that is being taken is waited for."""
        self._undo()
        with self._mutex:
            self._closed = True
