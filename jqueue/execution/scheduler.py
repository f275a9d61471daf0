"""Which opcode comes next: pure, fed with durable batches, asked for one pick at a time.

    candidates ──take──▶ examined ──▶ picked: started, running
        ▲                   │
        └─ released by ◀── held: dependencies, time, locks and places, parameters, verdict

Candidates are kept per kind, in order of priority, then ID.  The jobs that were there at opening
come from the store's lazy claim order, as far as picks need them, so that a long queue is not read
to start its first job.  What is held here costs nothing until the event that releases it.

Not thread-safe: its owner calls it under one mutex.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Final, NamedTuple

from jqueue.errors import InvalidJob
from jqueue.execution.due import Agenda
from jqueue.execution.holding import Held, Holding
from jqueue.execution.locks import LockTable, Rank
from jqueue.execution.units import Unit
from jqueue.execution.upcoming import Ahead, smallest
from jqueue.execution.wants import kind_of, wanted
from jqueue.job.change import Document
from jqueue.job.dependency import Verdict, dependencies_of
from jqueue.job.interruption import is_unresolved
from jqueue.job.state import Entry, Key
from jqueue.job.status import FINALIZED, JobStatus, calc_priority
from jqueue.job.transitions import next_op, not_before, retry_at
from jqueue.queue.dependencies import statuses_for, verdict_on
from jqueue.queue.finishing import LONGEST_BACKOFF_S
from jqueue.store.protocol import Batch

PULL: Final = 500
"""Jobs read from the claim order before others get their turn."""

AGE_S: Final = 30.0
"""An opcode that waits for its locks rises by one priority in so much time."""


class Pick(NamedTuple):
    """An opcode that may start now; `returned` undoes it, the record of its start confirms it."""

    job: int
    op_index: int
    kind: str
    unit: Unit | None
    locks: dict[str, str | int]


class Scheduler:
    """Candidates, what is held, what runs.

    `find` reads the durable state, `now_s` Unix time, `steady_s` a clock that nobody can set.
    """

    def __init__(
        self,
        find: Callable[[Key], Any],
        order: Iterator[Rank],
        units: Mapping[str, Unit],
        now_s: Callable[[], float],
        steady_s: Callable[[], float] = time.monotonic,
        *,
        age_s: float = AGE_S,
    ) -> None:
        self.find = find
        self.table = LockTable()
        self.verdicts: deque[int] = deque()
        """Jobs whose dependencies can't be met any more: somebody has to say so in a record."""
        self.lock_waiters: deque[tuple[int, int]] = deque()
        """Jobs and opcodes that began to wait for locks: queued ones become waiting, visibly."""
        self.canceling: set[int] = set()
        """Jobs that became canceling: what runs of them is to be ended."""
        self.more = False
        """Whether the last `take` gave up before it had read far enough: ask again soon."""
        self.units = units
        self._now_s = now_s
        self._appointments = Agenda(now_s)
        self._retries = Agenda(steady_s)
        self._patience = Agenda(steady_s)
        self._steady_s = steady_s
        self._age_s = age_s
        self._order = Ahead(order)
        self._head: Rank | None = next(self._order, None)
        self._heaps: dict[str, list[Rank]] = {}
        self.candidates: dict[int, tuple[str, Rank]] = {}
        self.held = Holding()
        self.declined: dict[int, str] = {}
        """Jobs that a worker could not carry out, its code being another than ours; and why."""
        self._dependents: dict[int, set[int]] = {}
        self.executing: dict[int, str] = {}
        self._starting: set[int] = set()
        self._running = Counter[str]()

    # What happened

    def note(self, batch: Batch) -> None:
        """Learn what a durable batch changed."""
        for key, value in batch.values.items():
            if type(key) is int:
                self.changed(key, value)
            elif value is not None and key.startswith("fate/"):  # type: ignore[union-attr]  # text
                self._release_dependents(int(key[5:]))  # type: ignore[index]  # as above

    def changed(self, job: int, entry: Entry | None) -> None:
        """Learn the newest state of a job."""
        document = None if entry is None or not entry.live else entry.document
        at = None if document is None else next_op(document)
        if document is None or at is None:
            self._forget(job)
            return
        op = document["ops"][at]
        if op["status"] in (JobStatus.RUNNING, JobStatus.CANCELING):
            self._began(job, op)
        elif job not in self._starting:
            if self.table.waits(job) and job not in self.executing and not is_unresolved(op):
                self._moved(job, document, at)
                return
            self._idle(job)
            if not is_unresolved(op):
                self._note_retry(job, op)
                self._add(job, document, at)

    def _moved(self, job: int, document: Document, at: int) -> None:
        """The job waits on for its locks, perhaps with another priority."""
        for rank in self.table.move((calc_priority(document["ops"]), job)):
            self._requeue(rank[1])
        self.held.release(job)
        self._add(job, document, at)

    def _note_retry(self, job: int, op: Mapping[str, Any]) -> None:
        """A failed attempt is to be repeated: its backoff runs from now on, whatever the wall says.

        The wall counts only as far as it makes sense: after a restart, or a step back of the clock
        while nobody looked, nothing waits longer than the longest backoff.
        """
        left_s = min(retry_at(op) - self._now_s(), LONGEST_BACKOFF_S)
        if left_s > 0:
            self._retries.set(job, self._steady_s() + left_s)
        else:
            self._retries.drop(job)

    def returned(self, job: int) -> None:
        """A pick was not started: look at the job anew."""
        self._starting.discard(job)
        self.changed(job, self.find(job))

    def _began(self, job: int, op: Mapping[str, Any]) -> None:
        if op["status"] == JobStatus.CANCELING:
            self.canceling.add(job)
        self._starting.discard(job)
        self.candidates.pop(job, None)
        self.held.release(job)
        self._patience.drop(job)
        if job not in self.executing:
            kind = kind_of(op)
            self.executing[job] = kind
            self._running[kind] += 1
            locks = op.get("locks")
            self.table.grant(job, locks if isinstance(locks, dict) else {})

    def _idle(self, job: int) -> None:
        """The job holds nothing any more; whoever waited for what it held may go on."""
        kind = self.executing.pop(job, None)
        if kind is not None:
            self._running[kind] -= 1
        self.held.release(job)
        self._patience.drop(job)
        for rank in self.table.release(job):
            self._requeue(rank[1])

    def _forget(self, job: int) -> None:
        self._starting.discard(job)
        self.candidates.pop(job, None)
        self.declined.pop(job, None)
        self._retries.drop(job)
        self._appointments.drop(job)
        self._idle(job)

    def _add(self, job: int, document: Document, at: int) -> None:
        kind = kind_of(document["ops"][at])
        rank = calc_priority(document["ops"]), job
        if self.candidates.get(job) != (kind, rank):
            self.candidates[job] = kind, rank
            heapq.heappush(self._heaps.setdefault(kind, []), rank)

    def _requeue(self, job: int) -> None:
        """Make a held job a candidate again."""
        self.held.release(job)
        entry: Entry | None = self.find(job)
        document = None if entry is None or not entry.live else entry.document
        at = None if document is None else next_op(document)
        if document is not None and at is not None and job not in self.executing:
            self._add(job, document, at)

    def release_declined(self) -> None:
        """What was declined is looked at again."""
        declined, self.declined = self.declined, {}
        for job in declined:
            if job in self.held:
                self._requeue(job)

    def _release_dependents(self, target: int) -> None:
        for job in self._dependents.pop(target, ()):
            if self.held.is_held(job, "dependency"):
                self._requeue(job)

    # Picking

    def take(self, kinds: frozenset[str] | None = None) -> Pick | None:
        """Return the opcode that is to start next among these kinds (None: any), or None.

        It holds its locks and places from now on.
        """
        self._release_due()
        self.more = False
        budget = PULL
        while True:
            best = self._best(kinds)
            while self._head is not None and (best is None or self._head < best[1]):
                if budget == 0:
                    self.more = True
                    return None
                budget -= 1
                self._pull()
                best = self._best(kinds)
            if best is None:
                return None
            kind, rank = best
            heapq.heappop(self._heaps[kind])
            del self.candidates[rank[1]]
            pick = self._examine(rank)
            if pick is not None:
                return pick

    def _best(self, kinds: frozenset[str] | None) -> tuple[str, Rank] | None:
        best: tuple[str, Rank] | None = None
        for kind in self._heaps if kinds is None else self._heaps.keys() & kinds:
            heap = self._heaps[kind]
            while heap and self.candidates.get(heap[0][1]) != (kind, heap[0]):
                heapq.heappop(heap)
            if heap and (best is None or heap[0] < best[1]) and not self.is_full(kind):
                best = kind, heap[0]
        return best

    def is_full(self, kind: str) -> bool:
        """Say whether as many of the kind run as may."""
        unit = self.units.get(kind)
        limit = None if unit is None else unit.max_running
        return limit is not None and self._running[kind] >= limit

    def _pull(self) -> None:
        assert self._head is not None
        job = self._head[1]
        self._head = next(self._order, None)
        if not self._knows(job):
            self.changed(job, self.find(job))

    def _knows(self, job: int) -> bool:
        known = (self.candidates, self.held, self.executing, self._starting)
        return any(job in one for one in known)

    def _examine(self, rank: Rank) -> Pick | None:
        """Return the pick that a candidate has become, or hold it."""
        job = rank[1]
        entry: Entry | None = self.find(job)
        document = None if entry is None or not entry.live else entry.document
        at = None if document is None else next_op(document)
        if document is None or at is None:
            return None
        op = document["ops"][at]
        if op["status"] in (JobStatus.RUNNING, JobStatus.CANCELING):
            self._began(job, op)
            return None
        if calc_priority(document["ops"]) != rank[0]:
            self._add(job, document, at)
            return None
        if job in self.declined:
            self.held.hold(job, Held("declined", self.declined[job]))
            return None
        if self._must_wait(job, op):
            return None
        unit = self.units.get(kind_of(op))
        try:
            wants = wanted(unit, op)
        except InvalidJob as error:
            self.held.hold(job, Held("parameters", f"its parameters don't fit its unit: {error}"))
            return None
        blocked = self.table.blocked(rank, wants) if wants else None
        if blocked is not None:
            if not self.table.waits(job):
                self._patience.set(job, self._steady_s() + self._age_s)
                if op["status"] == JobStatus.QUEUED:
                    self.lock_waiters.append((job, at))
            self.table.wait(rank, wants)
            self.held.hold(job, Held("locks", f"it waits for {blocked.name}"))
            return None
        return self._pick(job, at, kind_of(op), unit, wants)

    def _pick(
        self, job: int, at: int, kind: str, unit: Unit | None, wants: dict[str, str | int]
    ) -> Pick:
        self.table.grant(job, wants)
        self._patience.drop(job)
        self.executing[job] = kind
        self._running[kind] += 1
        self._starting.add(job)
        return Pick(job, at, kind, unit, wants)

    def _must_wait(self, job: int, op: Mapping[str, Any]) -> bool:
        if self._retries.left_s(job) > 0:
            self.held.hold(job, Held("retry", "it failed, and its next attempt comes later"))
            return True
        earliest = not_before(op)
        if earliest > self._now_s():
            self.held.hold(job, Held("not_before", "its time has not come"))
            self._appointments.set(job, earliest)
            return True
        if not dependencies_of(op):
            return False
        lookup = _Lookup(self.find)
        verdict, text = verdict_on(lookup, op, job)
        if verdict is Verdict.CONTINUE:
            return False
        if verdict is Verdict.WAIT:
            self.held.hold(job, Held("dependency", text))
            for target, status in statuses_for(lookup, op).items():
                if status not in FINALIZED:
                    self._dependents.setdefault(int(target), set()).add(job)
        else:
            self.held.hold(job, Held("verdict", text))
            self.verdicts.append(job)
        return True

    # Time

    def due_in_s(self) -> float | None:
        """Return in how many seconds there is something to do that only time brings, or None."""
        agendas = (self._appointments, self._retries, self._patience)
        due = [left_s for agenda in agendas if (left_s := agenda.next_in_s()) is not None]
        return min(due, default=None)

    @property
    def has_times(self) -> bool:
        """Whether there is anything that only time brings."""
        return bool(self._appointments or self._retries or self._patience)

    def _release_due(self) -> None:
        for job in (*self._appointments.take_due(), *self._retries.take_due()):
            if self.held.is_held(job, "retry", "not_before"):
                self._requeue(job)

    def take_aged(self) -> list[tuple[int, int]]:
        """Return the jobs and opcodes that have waited for locks for another `age_s`."""
        aged = []
        for job in self._patience.take_due():
            entry: Entry | None = self.find(job)
            document = None if entry is None or not entry.live else entry.document
            at = None if document is None else next_op(document)
            if at is not None and self.table.waits(job):
                self._patience.set(job, self._steady_s() + self._age_s)
                aged.append((job, at))
        return aged

    # Looking

    def why(self, job: int) -> Held | None:
        """Return why a job that has been looked at is not started, or None."""
        return self.held.why(job)

    def upcoming(self, count: int, kinds: frozenset[str]) -> list[Rank]:
        """Return the first so many that would be looked at next, however many there are.

        Those of other kinds come last.
        """
        unread = [self._head, *self._order.peek(count)] if self._head is not None else []
        others = self._heaps.keys() - kinds
        first = [self._current(kind) for kind in self._heaps.keys() & kinds]
        first.append(rank for rank in unread if not self._knows(rank[1]))
        last = [self._current(kind) for kind in others]
        return list(islice(chain(heapq.merge(*first), heapq.merge(*last)), count))

    def _current(self, kind: str) -> Iterator[Rank]:
        return smallest(
            self._heaps[kind], lambda rank: self.candidates.get(rank[1]) == (kind, rank)
        )

    @property
    def busy(self) -> int:
        """How many opcodes run or are being started."""
        return len(self.executing)

    @property
    def idle(self) -> bool:
        """Whether, after a `take` found nothing, nothing runs or will start by itself.

        A failed attempt that is to be repeated will; a job that was submitted for later, or whose
        kind nobody here carries out, doesn't count.
        """
        if self.executing or self.verdicts or self.more:
            return False
        return not (self.held.counts["locks"] or self.held.counts["retry"])


class _Lookup:
    """The durable state as the rules of dependencies read it."""

    __slots__ = ("find",)

    def __init__(self, find: Callable[[Key], Any]) -> None:
        self.find = find
