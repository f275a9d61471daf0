"""Claims: opcodes for those who bring their own workers, over the queue's socket.

A claim is known by its livelock, which the claimant holds before it asks: the same livelock again
gets the same opcode.  Its process is never signaled; when its connection is gone the opcode is
judged as soon as the livelock is free.  One that keeps its connection, and yet lets go of its
livelock without a word, is found by a look at all livelocks from time to time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from jqueue.errors import JQueueError, Refused, TooLarge
from jqueue.execution.executions import ClaimAnswer, Execution, Lock
from jqueue.execution.loop import Result, Timer
from jqueue.execution.runner import Runner
from jqueue.execution.scheduler import Pick
from jqueue.job.change import Document
from jqueue.store import livelock

Answer = Callable[[ClaimAnswer | JQueueError], None]

LOOK_S: Final = 5.0
"""So often the livelocks of granted claims are looked at, while there are any."""


class Request:
    """Somebody who waits for an opcode, or has got one."""

    def __init__(
        self, lock: Lock, kinds: frozenset[str] | None, timeout_s: float | None, answer: Answer
    ) -> None:
        self.lock = lock
        self.kinds = kinds
        self.timeout_s = timeout_s
        self.answer = answer
        self.timer: Timer | None = None
        self.execution: Execution | None = None
        self.answered: ClaimAnswer | None = None
        self.gone = False
        self.dropped = False
        """Whether the last look found its livelock free."""
        self.settled: Callable[[], None] = lambda: None
        """Called when it is over, with or without an opcode."""


class Claims:
    """The claims of all connections.  In the loop's thread."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._waiting: dict[str, Request] = {}
        self._granted: dict[str, Request] = {}
        self._next_look: Timer | None = None
        runner.claimants = self._serve
        runner.forgotten = self._forget

    def request(
        self, lock: Lock, kinds: frozenset[str] | None, timeout_s: float | None, answer: Answer
    ) -> Request:
        """Ask for an opcode; `answer` is called once, with none if none comes in time."""
        known = self._granted.get(lock.name) or self._adopt(lock)
        if known is not None:
            self._repeat(known, answer)
            return known
        before = self._waiting.get(lock.name)
        if before is not None:
            self._give_up(before)
        request = self._waiting[lock.name] = Request(lock, kinds, timeout_s, answer)
        self._runner.wake()
        return request

    def _repeat(self, known: Request, answer: Answer) -> None:
        """The claimant asks again, on another connection: it is there, and gets the same opcode."""
        known.settled()
        known.gone = False
        if known.answered is not None:
            answer(known.answered)
            return
        first = known.answer

        def answer_both(found: ClaimAnswer | JQueueError) -> None:
            first(found)
            answer(found)

        known.answer = answer_both

    def _adopt(self, lock: Lock) -> Request | None:
        """Return what an owner before has granted under this livelock, if its answer was lost."""
        for execution in self._runner.endings.executions.values():
            if execution.claimed and execution.lock.name == lock.name:
                entry = self._runner.store.find(execution.job)
                if entry is None or entry.document is None:
                    return None
                request = self._granted[lock.name] = Request(lock, None, None, lambda _: None)
                request.execution = execution
                op = entry.document["ops"][execution.op_index]
                request.answered = ClaimAnswer(
                    entry.document, execution.op_index, execution.token, op.get("attempts", 1)
                )
                return request
        return None

    def _give_up(self, request: Request) -> None:
        request.timer = None
        if self._waiting.get(request.lock.name) is request:
            del self._waiting[request.lock.name]
            request.settled()
            request.answer(ClaimAnswer())

    def _serve(self, may_start: bool) -> bool:
        runner = self._runner
        for request in list(self._waiting.values()):
            pick = runner.dispatcher.take(request.kinds) if may_start else None
            if pick is None:
                if may_start and runner.dispatcher.more:
                    runner.loop.call_threadsafe(runner.wake)
                else:
                    self._arm(request)
                continue
            del self._waiting[request.lock.name]
            self._start(request, pick)
        return bool(self._waiting)

    def _arm(self, request: Request) -> None:
        """Its time begins when there was nothing for it; with no time at all it is over."""
        if request.timer is None and request.timeout_s is not None:
            delay_s = max(request.timeout_s, 0.0)
            later = self._runner.loop.call_later
            request.timer = later(delay_s, lambda: self._give_up(request))

    def _start(self, request: Request, pick: Pick) -> None:
        runner = self._runner
        execution = Execution(pick.job, pick.op_index, pick.kind, request.lock, claimed=True)
        request.execution = execution
        runner.endings.executions[pick.job] = execution
        self._granted[request.lock.name] = request
        decide = runner.dispatcher.start(pick, request.lock, None)
        runner.loop.begin(decide, partial(self._started, request))

    def _started(self, request: Request, result: Result) -> None:
        runner, execution = self._runner, request.execution
        assert execution is not None
        if result.error is not None:
            del self._granted[request.lock.name]
            runner.not_started(execution, result.error)
            if isinstance(result.error, Refused | TooLarge) and not request.gone:
                # Of that job only: there may be others for it.
                self._waiting[request.lock.name] = request
            else:
                request.settled()
                request.answer(result.error)
            return
        if request.timer is not None:
            request.timer.cancel()
        if self._next_look is None:
            self._next_look = runner.loop.call_later(LOOK_S, self._look)
        document: Document = result.answer
        execution.token = result.lsn
        attempt = document["ops"][execution.op_index].get("attempts", 0) + 1
        request.answered = ClaimAnswer(document, execution.op_index, result.lsn, attempt)
        if request.gone:
            self._bury(request)
        else:
            request.answer(request.answered)
        runner.endings.began(
            execution, document["ops"][execution.op_index], runner.timeout_of(execution.kind)
        )

    def gone(self, request: Request) -> None:
        """The connection that asked is gone."""
        request.gone = True
        if self._waiting.get(request.lock.name) is request:
            del self._waiting[request.lock.name]
            if request.timer is not None:
                request.timer.cancel()
        elif request.answered is not None:
            self._bury(request)

    def _look(self) -> None:
        """Judge whose livelock is free twice in a row: a last word had the time to arrive."""
        for request in list(self._granted.values()):
            if request.answered is None:
                continue
            free = self._is_free(request.lock)
            if free and request.dropped:
                self._bury(request)
            request.dropped = free
        again = self._runner.loop.call_later
        self._next_look = again(LOOK_S, self._look) if self._granted else None

    def _is_free(self, lock: Lock) -> bool:
        try:
            return livelock.is_free(self._runner.queue_fd, lock.name, inode=lock.inode)
        except OSError:
            # It can't be told now: the next look may.
            return False

    def _bury(self, request: Request) -> None:
        """Judge it once its livelock is free, unless it is finished before."""
        execution = request.execution
        assert execution is not None
        if execution.burial is None and not execution.ended:
            self._runner.endings.end(execution, "its claimant is gone")

    def done(self, job: int, token: int) -> None:
        """A finish or release of the claim is durable."""
        execution = self._runner.endings.executions.get(job)
        if execution is not None and execution.token == token and execution.claimed:
            self._runner.endings.finished(execution)

    def _forget(self, execution: Execution) -> None:
        request = self._granted.pop(execution.lock.name, None) if execution.claimed else None
        if request is not None:
            request.settled()
