"""Waiting for jobs to end, woken by the commits themselves: nothing is polled."""

import threading
from collections.abc import Callable

from jqueue.errors import JQueueError, QueueFailed, WaitTimeout
from jqueue.job.state import live_status
from jqueue.job.status import FINALIZED
from jqueue.store.protocol import Batch, Store


class Waiters:
    """Threads that wait for jobs; while there are any, one watcher looks at each commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._gates: dict[int, list[threading.Event]] = {}
        self._undo: Callable[[], None] | None = None
        self._failure: JQueueError | None = None

    def wait(self, job: int, ended: Callable[[], bool], timeout_s: float | None) -> None:
        """Return once `ended`, which is asked after each end of the job.

        Raises WaitTimeout, or what `fail` was given.
        """
        gate = self._enter(job)
        try:
            # Asked only after the watcher listens: an end in between would be missed otherwise.
            if ended():
                return
            # A thread can't be told to wait longer than this, some hundred years.
            limit_s = None if timeout_s is None else min(max(timeout_s, 0.0), threading.TIMEOUT_MAX)
            if not gate.wait(limit_s):
                raise WaitTimeout(
                    f"job {job} has not ended within {timeout_s:g} s", timeout_s=timeout_s
                )
            if self._failure is not None and not ended():
                raise self._failure
        finally:
            self._leave(job, gate)

    def fail(self, failure: JQueueError | None = None) -> None:
        """Wake all: the queue was closed, or has failed."""
        with self._mutex:
            self._failure = failure or QueueFailed("the queue was closed while waiting")
            for gates in self._gates.values():
                for gate in gates:
                    gate.set()

    def _enter(self, job: int) -> threading.Event:
        gate = threading.Event()
        with self._mutex:
            if self._failure is not None:
                gate.set()
            if self._undo is None:
                self._undo = self._store.subscribe(self._look)
            self._gates.setdefault(job, []).append(gate)
        return gate

    def _leave(self, job: int, gate: threading.Event) -> None:
        with self._mutex:
            gates = self._gates[job]
            gates.remove(gate)
            if not gates:
                del self._gates[job]
            if not self._gates and self._undo is not None:
                self._undo()
                self._undo = None

    def _look(self, batch: Batch) -> None:
        """Wake whoever waits for a job that this batch ended (or archived, or removed)."""
        gates = self._gates
        for key, entry in batch.values.items():
            if isinstance(key, int) and key in gates:
                status = live_status(entry)
                if status is None or status in FINALIZED:
                    with self._mutex:
                        for gate in gates.get(key, ()):
                            gate.set()
