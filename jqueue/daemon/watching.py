"""Peers that wait for a job to change: answered by the batch that changes it, never by a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from jqueue.daemon.reactor import LoopTimer, Reactor
from jqueue.daemon.slot import Slot
from jqueue.errors import JobNotFound, JQueueError, WaitTimeout
from jqueue.job.snapshot import Job
from jqueue.queue.reading import job_of
from jqueue.store.protocol import Batch, Store

Answer = Callable[[int | JQueueError], None]
"""Is given the job's ID: whoever waits for a turn to answer doesn't hold a large document."""

MAX_WATCHED: Final = 100
"""Jobs that one request can watch: each is read when the request comes."""


class Waiter:
    """One peer, one condition, and the jobs of which one has to meet it."""

    __slots__ = ("answer", "jobs", "ready", "timer")

    def __init__(self, jobs: tuple[int, ...], ready: Callable[[Job], bool], answer: Answer) -> None:
        self.jobs = jobs
        self.ready = ready
        self.answer = answer
        self.timer: LoopTimer | None = None


class Watching:
    """All waiting peers, by job.  In the loop's thread, but for the look at each batch."""

    def __init__(self, reactor: Reactor, store: Store) -> None:
        self._reactor = reactor
        self._store = store
        self._waiters: dict[int, set[Waiter]] = {}
        self._undo: Callable[[], None] = store.subscribe(self._look)

    def wait(
        self,
        slot: Slot,
        jobs: Sequence[int],
        timeout_s: float | None,
        ready: Callable[[Job], bool],
        answer: Answer,
    ) -> None:
        """Call `answer` with the ID of the first of the jobs that is `ready`, or has ended.

        Or with WaitTimeout, or JobNotFound.
        """
        waiter = Waiter(tuple(jobs), ready, answer)
        # Listened to first, then looked: what happens in between is not missed.
        for job in jobs:
            self._waiters.setdefault(job, set()).add(waiter)
        try:
            if any(self._settle(waiter, job) for job in jobs):
                return
            if timeout_s is not None:
                text = f"{_named(jobs)}: nothing that was waited for within {timeout_s:g} s"
                timed_out = WaitTimeout(text, timeout_s=timeout_s)
                waiter.timer = self._reactor.call_later(
                    timeout_s, lambda: self._answer(waiter, timed_out)
                )
        except BaseException:
            # What the peer gave makes no sense: that is its error now, and must not become ours
            # when the job changes.
            self._leave(waiter)
            raise
        slot.on_drop = lambda: self._leave(waiter)

    def job(self, job: int) -> Job:
        """Return what is durable of a job.  Raises JobNotFound."""
        return job_of(self._store.find(job), job)

    def _look(self, batch: Batch) -> None:
        waiters = self._waiters
        if not waiters:
            return
        changed = [key for key in batch.values if type(key) is int and key in waiters]
        if changed:
            self._reactor.call_threadsafe(lambda: self._changed(changed))

    def _changed(self, jobs: list[int]) -> None:
        waiters = self._waiters
        self._settle_all(deque((waiter, job) for job in jobs for waiter in waiters.get(job, ())))

    def _settle_all(self, changed: deque[tuple[Waiter, int]]) -> None:
        """Settle as many as this turn has time for; the others' turn is a later one."""
        while changed:
            waiter, job = changed.popleft()
            if waiter in self._waiters.get(job, ()):
                self._settle(waiter, job)
            if changed and self._reactor.is_long():
                self._reactor.call_later(0, lambda: self._settle_all(changed))
                return

    def _settle(self, waiter: Waiter, job: int) -> bool:
        try:
            found = self.job(job)
        except JobNotFound as error:
            self._answer(waiter, error)
            return True
        if not (waiter.ready(found) or found.finalized):
            return False
        self._answer(waiter, job)
        return True

    def _answer(self, waiter: Waiter, found: int | JQueueError) -> None:
        self._leave(waiter)
        waiter.answer(found)

    def _leave(self, waiter: Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        for job in waiter.jobs:
            waiters = self._waiters.get(job)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[job]

    def close(self) -> None:
        """Look at the store no more."""
        self._undo()


def _named(jobs: Sequence[int]) -> str:
    return f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs"
