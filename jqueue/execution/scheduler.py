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
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from jqueue.errors import InvalidJob
from jqueue.execution.locks import LockTable, Rank
from jqueue.execution.units import Unit
from jqueue.job.change import Document
from jqueue.job.dependency import Verdict, dependencies_of
from jqueue.job.interruption import is_unresolved
from jqueue.job.state import Entry, Key
from jqueue.job.status import FINALIZED, JobStatus, calc_priority
from jqueue.job.transitions import next_op, not_before
from jqueue.queue.dependencies import statuses_for, verdict_on
from jqueue.store.protocol import Batch

PULL: Final = 500
"""Jobs read from the claim order before others get their turn."""

_RATE_LIMIT = re.compile(r"rate-limit:([1-9][0-9]{0,8}):.*", re.ASCII | re.DOTALL)


class Pick(NamedTuple):
    """An opcode that may start now; `returned` undoes it, the record of its start confirms it."""

    job: int
    op_index: int
    kind: str
    unit: Unit | None
    locks: dict[str, str | int]


class Held(NamedTuple):
    """Why a job is no candidate: the word for the reason, and a line about it."""

    reason: str
    text: str


class Scheduler:
    """Candidates, what is held, what runs.  `find` reads the durable state, `now_s` Unix time."""

    def __init__(
        self,
        find: Callable[[Key], Any],
        order: Iterator[Rank],
        units: Mapping[str, Unit],
        now_s: Callable[[], float],
    ) -> None:
        self.find = find
        self.table = LockTable()
        self.verdicts: deque[int] = deque()
        """Jobs whose dependencies can't be met any more: somebody has to say so in a record."""
        self.lock_waiters: deque[tuple[int, int]] = deque()
        """Jobs and opcodes that began to wait for locks: queued ones become waiting, visibly."""
        self.more = False
        """Whether the last `take` gave up before it had read far enough: ask again soon."""
        self._units = units
        self._now_s = now_s
        self._order = order
        self._head: Rank | None = next(order, None)
        self._heaps: dict[str, list[Rank]] = {}
        self._candidates: dict[int, tuple[str, Rank]] = {}
        self._held: dict[int, Held] = {}
        self._dependents: dict[int, set[int]] = {}
        self._timers: list[tuple[float, int]] = []
        self._busy: dict[int, str] = {}
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
            self._idle(job)
            if not is_unresolved(op):
                self._add(job, document, at)

    def returned(self, job: int) -> None:
        """A pick was not started: look at the job anew."""
        self._starting.discard(job)
        self.changed(job, self.find(job))

    def _began(self, job: int, op: Mapping[str, Any]) -> None:
        self._starting.discard(job)
        self._candidates.pop(job, None)
        self._held.pop(job, None)
        if job not in self._busy:
            kind = _kind(op)
            self._busy[job] = kind
            self._running[kind] += 1
            locks = op.get("locks")
            self.table.grant(job, locks if isinstance(locks, dict) else {})

    def _idle(self, job: int) -> None:
        """The job holds nothing any more; whoever waited for what it held may go on."""
        kind = self._busy.pop(job, None)
        if kind is not None:
            self._running[kind] -= 1
        self._held.pop(job, None)
        for rank in self.table.release(job):
            self._requeue(rank[1])

    def _forget(self, job: int) -> None:
        self._starting.discard(job)
        self._candidates.pop(job, None)
        self._idle(job)

    def _add(self, job: int, document: Document, at: int) -> None:
        kind = _kind(document["ops"][at])
        rank = calc_priority(document["ops"]), job
        if self._candidates.get(job) != (kind, rank):
            self._candidates[job] = kind, rank
            heapq.heappush(self._heaps.setdefault(kind, []), rank)

    def _requeue(self, job: int) -> None:
        """Make a held job a candidate again."""
        self._held.pop(job, None)
        entry: Entry | None = self.find(job)
        document = None if entry is None or not entry.live else entry.document
        at = None if document is None else next_op(document)
        if document is not None and at is not None and job not in self._busy:
            self._add(job, document, at)

    def _release_dependents(self, target: int) -> None:
        for job in self._dependents.pop(target, ()):
            if job in self._held and self._held[job].reason == "dependency":
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
            del self._candidates[rank[1]]
            pick = self._examine(rank)
            if pick is not None:
                return pick

    def _best(self, kinds: frozenset[str] | None) -> tuple[str, Rank] | None:
        best: tuple[str, Rank] | None = None
        for kind in self._heaps if kinds is None else self._heaps.keys() & kinds:
            heap = self._heaps[kind]
            while heap and self._candidates.get(heap[0][1]) != (kind, heap[0]):
                heapq.heappop(heap)
            if heap and (best is None or heap[0] < best[1]) and not self._is_full(kind):
                best = kind, heap[0]
        return best

    def _is_full(self, kind: str) -> bool:
        unit = self._units.get(kind)
        limit = None if unit is None else unit.max_running
        return limit is not None and self._running[kind] >= limit

    def _pull(self) -> None:
        assert self._head is not None
        job = self._head[1]
        self._head = next(self._order, None)
        known = (self._candidates, self._held, self._busy, self._starting)
        if not any(job in one for one in known):
            self.changed(job, self.find(job))

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
        if self._must_wait(job, op):
            return None
        unit = self._units.get(_kind(op))
        try:
            wants = wanted(unit, op)
        except InvalidJob as error:
            self._held[job] = Held("parameters", f"its parameters don't fit its unit: {error}")
            return None
        blocked = self.table.blocked(rank, wants) if wants else None
        if blocked is not None:
            self.table.wait(rank, wants)
            jobs = ", ".join(f"job {holder}" for holder in blocked.holders)
            self._held[job] = Held("locks", f"it waits for {blocked.name}, which {jobs} has")
            if op["status"] == JobStatus.QUEUED:
                self.lock_waiters.append((job, at))
            return None
        return self._pick(job, at, _kind(op), unit, wants)

    def _pick(
        self, job: int, at: int, kind: str, unit: Unit | None, wants: dict[str, str | int]
    ) -> Pick:
        self.table.grant(job, wants)
        self._busy[job] = kind
        self._running[kind] += 1
        self._starting.add(job)
        return Pick(job, at, kind, unit, wants)

    def _must_wait(self, job: int, op: Mapping[str, Any]) -> bool:
        earliest = not_before(op)
        if earliest > self._now_s():
            reason = "retry" if op.get("retry_at") == earliest else "not_before"
            self._held[job] = Held(reason, "its time has not come")
            heapq.heappush(self._timers, (earliest, job))
            return True
        if not dependencies_of(op):
            return False
        lookup = _Lookup(self.find)
        verdict, text = verdict_on(lookup, op, job)
        if verdict is Verdict.CONTINUE:
            return False
        if verdict is Verdict.WAIT:
            self._held[job] = Held("dependency", text)
            for target, status in statuses_for(lookup, op).items():
                if status not in FINALIZED:
                    self._dependents.setdefault(int(target), set()).add(job)
        else:
            self._held[job] = Held("verdict", text)
            self.verdicts.append(job)
        return True

    # Time

    def next_due_s(self) -> float | None:
        """Return the Unix time at which a held job's time comes, or None."""
        return self._timers[0][0] if self._timers else None

    def _release_due(self) -> None:
        now = self._now_s()
        while self._timers and self._timers[0][0] <= now:
            _, job = heapq.heappop(self._timers)
            if job in self._held and self._held[job].reason in ("retry", "not_before"):
                self._requeue(job)

    # Looking

    def why(self, job: int) -> Held | None:
        """Return why a job that has been looked at is not started, or None."""
        held = self._held.get(job)
        if held is not None:
            return held
        candidate = self._candidates.get(job)
        if candidate is not None and self._is_full(candidate[0]):
            limit = self._running[candidate[0]]
            return Held("limit", f"{limit} opcodes of kind {candidate[0]} run, as many as may")
        return None

    @property
    def busy(self) -> int:
        """How many opcodes run or are being started."""
        return len(self._busy)

    @property
    def idle(self) -> bool:
        """Whether, after a `take` found nothing, nothing runs or will start by itself.

        A failed attempt that is to be repeated will; a job that was submitted for later, or whose
        kind nobody here carries out, doesn't count.
        """
        if self._busy or self.verdicts or self.more:
            return False
        return not any(held.reason in ("locks", "retry") for held in self._held.values())


class _Lookup:
    """The durable state as the rules of dependencies read it."""

    __slots__ = ("find",)

    def __init__(self, find: Callable[[Key], Any]) -> None:
        self.find = find


def wanted(unit: Unit | None, op: Mapping[str, Any]) -> dict[str, str | int]:
    """Return the locks and places that an opcode needs.

    Raises InvalidJob if its parameters don't fit the unit, or if the unit's own rule fails on them.
    """
    wants: dict[str, str | int] = {}
    given = op["input"]
    if unit is not None:
        parsed = unit.parse(given)
        try:
            wants.update(unit.wanted_locks(parsed))
        except InvalidJob:
            raise
        except Exception as error:
            raise InvalidJob(f"its locks can't be told: {type(error).__name__}: {error}") from error
    reasons = given.get("reason") if isinstance(given, dict) else None
    for entry in reasons or ():
        found = _RATE_LIMIT.fullmatch(entry[1]) if isinstance(entry[1], str) else None
        if found is not None:
            wants[entry[1]] = int(found[1])
    return wants


def _kind(op: Mapping[str, Any]) -> str:
    given = op["input"]
    kind = given.get("OP_ID") if isinstance(given, dict) else None
    return kind if isinstance(kind, str) else ""
