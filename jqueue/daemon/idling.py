"""Peers that wait until a queue is idle: nothing runs, and nothing will start by itself.

Unfinished jobs may be left: paused, parked, to be started at a later time, or of a kind that nobody
here carries out.  An owner without workers can't know what claimants will take: there all must have
ended, or the queue be paused.
"""

from __future__ import annotations

from collections.abc import Callable

from jqueue.daemon.reactor import LoopTimer, Reactor
from jqueue.daemon.slot import Slot
from jqueue.errors import WaitTimeout
from jqueue.execution.runner import Runner
from jqueue.job.status import OPEN, JobStatus
from jqueue.queue.reading import counts

Answer = Callable[[int | WaitTimeout], None]

RUNNING = frozenset({JobStatus.RUNNING, JobStatus.CANCELING})


class IdleWaiter:
    """One peer."""

    __slots__ = ("answer", "timer")

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.timer: LoopTimer | None = None


class Idling:
    """All who wait for that.  In the loop's thread; nobody waiting costs nothing."""

    def __init__(self, reactor: Reactor, runner: Runner) -> None:
        self._reactor = reactor
        self._runner = runner
        self._waiters: set[IdleWaiter] = set()

    def wait(self, slot: Slot, timeout_s: float | None, answer: Answer) -> None:
        """Call `answer` with the number of unfinished jobs once it is idle, or with WaitTimeout."""
        waiter = IdleWaiter(answer)
        if not self._waiters:
            # Woken by every commit, its own and those of other threads, and only while needed.
            self._runner.dispatcher.listen(self._runner.wake)
            self._reactor.after_turn.append(self._look)
        self._waiters.add(waiter)
        slot.on_drop = lambda: self._leave(waiter)
        # Whether something can start is known when the runner has looked, in this turn.
        self._runner.wake()
        if timeout_s is not None:
            # Soon: a timer without patience would go off before that look.
            self._reactor.call_threadsafe(lambda: self._limit(waiter, timeout_s))

    def _limit(self, waiter: IdleWaiter, timeout_s: float) -> None:
        if waiter in self._waiters:
            waiter.timer = self._reactor.call_later(
                timeout_s, lambda: self._time_is_over(waiter, timeout_s)
            )

    def _look(self) -> None:
        # What is begun may change everything; after its sync this is called again.
        if self._waiters and self._reactor.is_quiet and self._is_idle():
            left = self._unfinished()
            for waiter in list(self._waiters):
                self._leave(waiter)
                waiter.answer(left)

    def _is_idle(self) -> bool:
        runner = self._runner
        if not self._unfinished():
            return True
        # What is claimed without the socket is known by its status only.
        if any(counts(runner.store.find, RUNNING).values()) or runner.crew.stopping:
            return False
        paused = runner.store.find("pause") is not None
        return runner.is_idle and (paused or runner.options.workers > 0)

    def _unfinished(self) -> int:
        return sum(counts(self._runner.store.find, OPEN).values())

    def _time_is_over(self, waiter: IdleWaiter, timeout_s: float) -> None:
        self._leave(waiter)
        text = f"not idle within {timeout_s:g} s: {self._unfinished()} unfinished"
        waiter.answer(WaitTimeout(text, timeout_s=timeout_s))

    def _leave(self, waiter: IdleWaiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        self._waiters.discard(waiter)
        if not self._waiters:
            self._runner.dispatcher.unlisten(self._runner.wake)
            self._reactor.after_turn.remove(self._look)
