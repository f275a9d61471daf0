"""The scheduler behind a mutex, fed by the store: what runners and claimants take opcodes from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jqueue.execution.executions import Lock
from jqueue.execution.holding import Held
from jqueue.execution.locks import HeldLock, Rank
from jqueue.execution.obstacles import is_before, obstacles
from jqueue.execution.scheduler import AGE_S, Pick, Scheduler
from jqueue.execution.units import Unit
from jqueue.job.interruption import Interruption
from jqueue.job.state import Entry
from jqueue.job.status import JobStatus
from jqueue.job.transitions import next_op
from jqueue.queue.clock import NS_PER_S, Clock
from jqueue.queue.running import start
from jqueue.store.processes import Identity
from jqueue.store.protocol import Batch, Decide, Snapshot, Store

MAX_BEFORE: Final = 100
"""So many jobs before another are told; a person can't do with more."""


class Dispatcher:
    """Thread-safe.  Listeners are called after each batch, on whatever thread tells of it."""

    def __init__(
        self, store: Store, units: Mapping[str, Unit], clock: Clock, *, age_s: float = AGE_S
    ) -> None:
        self._mutex = threading.Lock()
        self._clock = clock
        self._listeners: list[Callable[[], None]] = []
        self.units = units
        # Subscribed before the order is asked for: a change in between is seen twice, not never.
        self._early: list[Batch] | None = []
        self._undo = store.subscribe(self._note)
        self._claim_order = store.claim_order
        order = store.claim_order()
        with self._mutex:
            now_s = lambda: clock.now_ns() / NS_PER_S  # noqa: E731 - a clock in other units
            self._scheduler = Scheduler(
                store.find, order, units, now_s, clock.steady_s, age_s=age_s
            )
            # What runs must be known before anything is taken: it holds locks and places.
            with store.snapshot() as moment:
                for job, _, _ in unsettled(moment):
                    self._scheduler.changed(job, store.find(job))
            # Whoever recovers sees to those that are canceling already.
            self._scheduler.canceling.clear()
            early, self._early = self._early, None
            for batch in early or ():
                self._scheduler.note(batch)

    def _note(self, batch: Batch) -> None:
        with self._mutex:
            if self._early is not None:
                self._early.append(batch)
                return
            self._scheduler.note(batch)
        self.announce()

    def announce(self) -> None:
        """Let all listeners look again."""
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each batch: there may be something to take."""
        self._listeners = [*self._listeners, listener]

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Don't call it any more."""
        self._listeners = [known for known in self._listeners if known != listener]

    def take(self, kinds: frozenset[str] | None = None) -> Pick | None:
        """Return the opcode that is to start next, for this caller alone, or None."""
        with self._mutex:
            return self._scheduler.take(kinds)

    def returned(self, job: int) -> None:
        """What was taken was not started."""
        with self._mutex:
            self._scheduler.returned(job)

    def declined(self, job: int, why: str) -> None:
        """A worker can't carry out what it was given: it is not taken again for now."""
        with self._mutex:
            self._scheduler.declined[job] = why

    def release_declined(self) -> None:
        """There is a worker with other code, perhaps: what was declined may be taken again."""
        with self._mutex:
            self._scheduler.release_declined()

    def take_verdicts(self) -> list[int]:
        """Return the jobs that must be judged, for this caller alone."""
        with self._mutex:
            taken = list(self._scheduler.verdicts)
            self._scheduler.verdicts.clear()
        return taken

    def take_lock_waiters(self) -> list[tuple[int, int]]:
        """Return the jobs and opcodes that began to wait for locks, for this caller alone."""
        with self._mutex:
            taken = list(self._scheduler.lock_waiters)
            self._scheduler.lock_waiters.clear()
        return taken

    def take_aged(self) -> list[tuple[int, int]]:
        """Return the jobs and opcodes whose patience with their locks is over once more."""
        with self._mutex:
            return self._scheduler.take_aged()

    def take_canceling(self) -> set[int]:
        """Return the jobs that became canceling since the last time."""
        with self._mutex:
            taken = set(self._scheduler.canceling)
            self._scheduler.canceling.clear()
        return taken

    def why(self, job: int) -> Held | None:
        """Return why a job is not started, as far as the scheduler knows."""
        with self._mutex:
            return self._scheduler.why(job)

    def obstacles(self, job: int) -> list[Held]:
        """Return what of locks, limits and parameters keeps a job from starting."""
        with self._mutex:
            return obstacles(self._scheduler, job)

    def before(self, job: int, kinds: frozenset[str]) -> tuple[list[int], bool]:
        """Return the jobs whose turn comes before that of `job`, and whether there are more."""
        found: list[int] = []
        for rank in self._claim_order():
            if rank[1] == job:
                return found, False
            with self._mutex:
                if is_before(self._scheduler, rank, kinds):
                    found.append(rank[1])
            if len(found) >= MAX_BEFORE:
                return found, True
        return found, False

    def overview(
        self, count: int, named: int, kinds: frozenset[str]
    ) -> tuple[list[Rank], dict[str, int], list[HeldLock]]:
        """Return what is looked at next, how many are held for which reason, and the held locks.

        At most `count` ranks and locks, `named` holders and waiters of a lock.
        """
        with self._mutex:
            scheduler = self._scheduler
            held = {reason: number for reason, number in scheduler.held.counts.items() if number}
            locks = scheduler.table.most_wanted(count, named)
            return scheduler.upcoming(count, kinds), held, locks

    @property
    def more(self) -> bool:
        """Whether the last take gave up early, and another may find something."""
        return self._scheduler.more

    @property
    def urgent(self) -> bool:
        """Whether there is something to be said in a record, or an execution to be ended."""
        scheduler = self._scheduler
        return bool(scheduler.canceling or scheduler.verdicts or scheduler.lock_waiters)

    @property
    def has_times(self) -> bool:
        """Whether there is anything that only time brings."""
        return self._scheduler.has_times

    @property
    def has_verdicts(self) -> bool:
        """Whether there is a verdict to be given."""
        return bool(self._scheduler.verdicts)

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing will start by itself."""
        with self._mutex:
            return self._scheduler.idle

    def due_in_s(self) -> float | None:
        """Return in how many seconds there is something to do that only time brings, or None."""
        with self._mutex:
            return self._scheduler.due_in_s()

    def start(
        self, pick: Pick, lock: Lock, worker: Identity | None, *, thread: bool = False
    ) -> Decide:
        """Return the rule that starts what was taken, with all that recovery must know."""
        unit = pick.unit
        return start(
            pick.job,
            pick.op_index,
            now=self._clock.now_ns(),
            livelock=lock.name,
            worker=worker_record(worker, lock, self._clock.steady_s(), thread=thread),
            policy=Interruption.REQUEUE if unit is None else unit.interruption,
            retries=None if unit is None else unit.retries,
            timeout_s=None if unit is None else unit.timeout_s,
            kind_limit=None if unit is None else unit.max_running,
            locks=pick.locks,
        )

    def close(self) -> None:
        """Look at the store no more."""
        self._undo()


def unsettled(moment: Snapshot) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield job, opcode's index and opcode of each job that waits, runs or is being canceled."""
    for job in moment.begun_ids():
        entry: Entry | None = moment.find(job)
        document = None if entry is None or not entry.live else entry.document
        at = None if document is None else next_op(document)
        if document is not None and at is not None:
            op = document["ops"][at]
            if op["status"] != JobStatus.QUEUED:
                yield job, at, op


def worker_record(
    worker: Identity | None, lock: Lock, began_s: float, *, thread: bool
) -> dict[str, Any]:
    """Return what a start's record says of the executing process; of a claimant only `began_s`.

    That is on the steady clock of its boot: what a later owner measures its timeout from.
    """
    record: dict[str, Any] = {"began_s": round(began_s, 3)}
    if worker is None:
        return record
    record |= {**worker.to_dict(), "inode": lock.inode, "device": lock.device}
    if thread:
        # The process is the owner, which nobody may end because of one opcode.
        record["thread"] = True
    return record
