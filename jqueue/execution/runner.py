"""The processor: gives opcodes to workers, one at a time, and takes what becomes of them.

    idle worker ── take ──▶ start record durable ──▶ start sent ──▶ … ──▶ finish durable ──▶ ok
                                    ▲                     │                     │
                                    └─────────────────────┼──── the same record ┘
             worker dead, silent, denied, canceled ──▶ buried ──▶ judged by the recorded policy

All of it runs in the loop's thread.  Nothing is sent before the record that it rests on is durable.
The rows of the worker protocol (DESIGN section 8) are the methods of `Runner`, `claims.Claims` and
`recovery.Recovery`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from jqueue.errors import JQueueError, Refused, TooLarge
from jqueue.execution.clockstep import ClockSteps
from jqueue.execution.crew import Crew
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.endings import RETRY_S, Endings
from jqueue.execution.executions import Execution, Lock, Options, Worker
from jqueue.execution.loop import Continuation, Loop, Result, Timer
from jqueue.execution.scheduler import Pick
from jqueue.job.change import Document
from jqueue.queue.answer import together
from jqueue.queue.clock import Clock
from jqueue.queue.dependencies import judge_dependencies
from jqueue.queue.entries import Check
from jqueue.queue.finishing import fail_unstarted
from jqueue.queue.running import age, wait_for_locks
from jqueue.store.protocol import Decide, Lsn, Store

_log = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 3600.0
"""No timer is farther away: what it waits for is looked at again then."""
_NOT_TOGETHER: Final = Refused("the end before it was not kept with it")


class Runner:
    """Runs opcodes through workers.  `launch` starts one; it says hello on its connection."""

    def __init__(  # noqa: PLR0913 - what it runs, with what, by which rules
        self,
        loop: Loop,
        store: Store,
        dispatcher: Dispatcher,
        clock: Clock,
        queue_fd: int,
        options: Options,
        launch: Callable[[], Worker],
        *,
        check: Check | None = None,
        max_live_jobs: int,
    ) -> None:
        self.loop = loop
        self.store = store
        self.dispatcher = dispatcher
        self.clock = clock
        self.queue_fd = queue_fd
        self.options = options
        self.check = check
        self.max_live_jobs = max_live_jobs
        self.crew = Crew(loop, queue_fd, options, launch)
        self.endings = Endings(loop, store, clock, queue_fd, options, self.crew)
        self.on_idle: Callable[[], None] | None = None
        """Called when nothing runs and nothing will start by itself."""
        self.claimants: Callable[[bool], bool] = lambda _may_start: False
        """Serves waiting claims, and says whether some still wait; set by `Claims`."""
        self.forgotten: Callable[[Execution], None] = lambda _execution: None
        """Called when an execution is over; set by `Claims`."""
        self._idle: deque[Worker] = deque()
        self._dirty = True
        self._claims_wait = False
        self._due: Timer | None = None
        self._due_at_s = 0.0
        self._steps = ClockSteps()
        loop.watch(self._steps.fd, self._clock_was_set)
        self._resting: Timer | None = None
        self.crew.unusable = self._unusable
        self.crew.gone = self._gone
        self.endings.forgotten = self._forgotten
        dispatcher.listen(self._look_if_wanted)

    def _look_if_wanted(self) -> None:
        # A change is somebody's own affair, unless there is somebody to start something.
        if self._idle or self._claims_wait or self.on_idle or self.dispatcher.urgent:
            self.wake()

    def wake(self) -> None:
        """Something may be startable; any thread."""
        if not self._dirty:
            self._dirty = True
            self.loop.call_threadsafe(lambda: None)

    def turn(self) -> None:
        """Start what can be started: called in each turn of the loop."""
        if not self._dirty:
            return
        self._dirty = False
        if self.dispatcher.urgent:
            for job in self.dispatcher.take_canceling():
                self.endings.kill(job)
        paused = self._is_paused
        if not paused:
            self._start_all()
        self._claims_wait = self.claimants(not paused)
        if self.dispatcher.urgent:
            self._say_found()
        if self.dispatcher.has_times:
            for job, at in self.dispatcher.take_aged():
                self.loop.begin(age(job, at), self._aged)
            self._arm_due()
        if self.on_idle is not None and self.is_idle:
            self.on_idle()

    @property
    def _is_paused(self) -> bool:
        return bool(
            self.crew.stopping or self._resting is not None or self.store.find("pause") is not None
        )

    def _say_found(self) -> None:
        """Say in records what was found by looking for something to start."""
        for job in self.dispatcher.take_verdicts():
            decide = judge_dependencies(job, self.clock.now_ns())
            self.loop.begin(decide, partial(self._judged, job))
        for job, at in self.dispatcher.take_lock_waiters():
            decide = wait_for_locks(job, at, now=self.clock.now_ns())
            self.loop.begin(decide, self._aged)

    def _judged(self, job: int, result: Result) -> None:
        if result.error is not None and not isinstance(result.error, Refused):
            text = "job %d stays queued for now, though its dependencies failed: %s"
            _log.warning(text, job, result.error, extra={"job": job})
            self.loop.call_later(RETRY_S, partial(self._look_anew, job))

    def _look_anew(self, job: int) -> None:
        self.dispatcher.returned(job)
        self.wake()

    def _aged(self, result: Result) -> None:
        """It is more urgent now; or it has just got its locks, or the disk is full."""
        if result.error is not None:
            _log.debug("not aged: %s", result.error)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and, as far as was looked, nothing will start by itself."""
        if self._dirty or self.endings.executions or self._resting is not None:
            return False
        paused = self.store.find("pause") is not None
        # Until an idle worker has looked for a job and found none, nobody knows that there is none.
        return paused or self.crew.stopping or (bool(self._idle) and self.dispatcher.idle)

    def _start_all(self) -> None:
        while self._idle:
            if not self._has_place():
                return
            pick = self.dispatcher.take(self.options.kinds)
            if pick is None:
                if self.dispatcher.more:
                    self.loop.call_threadsafe(self.wake)
                return
            self._start(self._idle.popleft(), pick)

    def _has_place(self, leaving: int = 0) -> bool:
        """Whether one more job may run, when so many leave: those that are being ended still do.

        Without a limit of their own as many as there are to be workers, beside what is claimed.
        """
        limit = self.options.max_running_jobs
        executions = self.endings.executions
        most = leaving + (self.options.workers if limit is None else limit)
        if len(executions) < most:
            return True
        counted = (one for one in executions.values() if limit is not None or not one.claimed)
        return sum(not one.makes_room for one in counted) < most

    def _start(self, worker: Worker, pick: Pick) -> None:
        assert worker.lock is not None
        execution = worker.execution = self._assign(worker, pick, worker.lock)
        worker.lock = None
        self.loop.begin(self._starting(execution, pick), partial(self._started, execution))

    def _assign(self, worker: Worker, pick: Pick, lock: Lock) -> Execution:
        """Make the execution, known to `endings` from now on."""
        identity = None if worker.thread else worker.identity
        execution = Execution(
            pick.job, pick.op_index, pick.kind, lock, worker=worker, identity=identity
        )
        self.endings.executions[pick.job] = execution
        return execution

    def _starting(self, execution: Execution, pick: Pick) -> Decide:
        worker = execution.worker
        assert worker is not None
        return self.dispatcher.start(pick, execution.lock, worker.identity, thread=worker.thread)

    def _started(self, execution: Execution, result: Result) -> None:
        worker = execution.worker
        assert worker is not None
        if result.error is not None:
            self.not_started(execution, result.error)
            worker.execution = None
            self._offer(worker, execution.lock)
        else:
            self._begun(worker, execution, result.answer, result.lsn)

    def _begun(self, worker: Worker, execution: Execution, document: Document, lsn: Lsn) -> None:
        """The record of a start is durable: the worker is told."""
        execution.token = lsn
        if worker.condemned is not None:
            # It was never told, and will not be.
            execution.denied = True
            self._judge_if_buried(worker)
            return
        if worker.channel is None:
            # It is not told, and will not be: on its next connection it says that it is idle.
            execution.denied = True
        job, at = execution.job, execution.op_index
        op = document["ops"][at]
        attempt = op.get("attempts", 0) + 1
        worker.tell(["start", job, at, lsn, attempt, op["priority"], op["input"]])
        self.endings.began(execution, op, self.timeout_of(execution.kind))

    def not_started(self, execution: Execution, error: JQueueError) -> None:
        """The record of a start did not become durable: the job is a candidate again."""
        del self.endings.executions[execution.job]
        if isinstance(error, TooLarge):
            self._fail_unstarted(execution, error)
            return
        if not isinstance(error, Refused) and self._resting is None:
            _log.warning("opcodes can't be started for now: %s", error)
            self._resting = self.loop.call_later(RETRY_S, self._rested)
        self.dispatcher.returned(execution.job)
        self.wake()

    def _fail_unstarted(self, execution: Execution, error: JQueueError) -> None:
        """No record holds its start: it fails, and holds up nobody."""
        why = f"it can't be started: {error}"
        now = self.clock.now_ns()
        decide = fail_unstarted(execution.job, execution.op_index, now=now, why=why)
        self.loop.begin(decide, partial(self._failed_unstarted, execution, why))

    def _failed_unstarted(self, execution: Execution, why: str, result: Result) -> None:
        job = execution.job
        if result.error is None:
            _log.warning("job %d fails: %s", job, why, extra=execution.named)
        elif isinstance(result.error, TooLarge):
            # Not even that fits a record.
            _log.error("job %d stays queued: %s", job, why, extra=execution.named)
            self.dispatcher.declined(job, why)
        elif not isinstance(result.error, Refused):
            self.loop.call_later(RETRY_S, partial(self._look_anew, job))
            return
        self._look_anew(job)

    @property
    def resting(self) -> bool:
        """Whether nothing is started for a moment, because the disk took no record."""
        return self._resting is not None

    def _rested(self) -> None:
        self._resting = None
        self.wake()

    def _arm_due(self) -> None:
        """Wake when the next time comes; a timer that is too early costs one look."""
        due_in_s = self.dispatcher.due_in_s()
        if due_in_s is None:
            return
        at_s = self.clock.steady_s() + min(due_in_s, LOOK_AGAIN_S)
        if self._due is not None:
            if self._due_at_s <= at_s:
                return
            self._due.cancel()
        self._due_at_s = at_s
        self._due = self.loop.call_later(at_s - self.clock.steady_s(), self._time_has_come)

    def _time_has_come(self) -> None:
        self._due = None
        self.wake()

    def _clock_was_set(self) -> None:
        """What waits for a time of the wall's is looked at anew, by claimants too."""
        self._steps.note()
        _log.info("the clock was set: what waits for a time is looked at anew")
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.dispatcher.announce()
        self.wake()

    def _judge_if_buried(self, worker: Worker) -> None:
        execution = worker.execution
        if execution is not None and worker.gone and execution.token:
            self.endings.judge(execution)

    def ready(self, worker: Worker, lock: Lock) -> None:
        """The worker is idle, and holds this livelock for its next execution."""
        worker.execution = None
        if self._is_needless(worker):
            worker.lock = lock
            self.crew.dismiss(worker)
            return
        self._offer(worker, lock)

    def _is_needless(self, worker: Worker) -> bool:
        """Whether a worker that becomes idle is one too many, or one of an owner before.

        That gets nothing new: what was loaded since then would not be known.
        """
        return worker.adopted or self.crew.stopping or self.crew.usable > self.options.workers

    def _offer(self, worker: Worker, lock: Lock) -> None:
        """Give it something next, unless it is lost: then it comes again, and says what it is."""
        if worker.usable:
            worker.lock = lock
            if worker not in self._idle:
                self._idle.append(worker)
            self.wake()

    def end(
        self, execution: Execution, decide: Decide, lock: Lock | None, then: Continuation
    ) -> None:
        """Append the end of an execution; its worker holds `lock` for what comes next.

        If there is something, that is begun in the same record: one transaction, one sync, and one
        message to the worker.  `then` is called with what the end came to.
        """
        worker = execution.worker
        assert worker is not None
        pick = None if lock is None else self._take_next(worker)
        if self.dispatcher.has_times:
            # What was looked at may have to wait for a time.
            self.wake()
        if pick is None:
            self.loop.begin(decide, then)
            return
        assert lock is not None
        following = worker.following = self._assign(worker, pick, lock)
        both = together(decide, self._starting(following, pick))
        self.loop.begin(both, partial(self._ended, worker, following, decide, then))

    def _take_next(self, worker: Worker) -> Pick | None:
        """Take what a worker is given when its opcode has ended."""
        if worker.following is not None or not worker.usable or self._is_needless(worker):
            return None
        if self._is_paused or not self._has_place(leaving=1):
            return None
        return self.dispatcher.take(self.options.kinds)

    def _ended(
        self,
        worker: Worker,
        following: Execution,
        decide: Decide,
        then: Continuation,
        result: Result,
    ) -> None:
        """An end and the start beside it are durable, or neither is."""
        error = result.error
        if error is None:
            ended, begun = result.answer
            if isinstance(begun, JQueueError):
                worker.following = None
                self.not_started(following, begun)
                then(Result(ended, result.lsn))
                return
            following.token = result.lsn
            then(Result(ended, result.lsn))
            self._begun(worker, following, begun, result.lsn)
            return
        worker.following = None
        self.not_started(following, _NOT_TOGETHER)
        if isinstance(error, Refused):
            then(result)
        else:
            # What keeps both from the journal must not keep the end from it.
            self.loop.begin(decide, then)

    def finished(self, worker: Worker, lock: Lock | None) -> None:
        """Its finish is durable and answered: it goes on with what was begun beside that."""
        if lock is None:
            # It says itself when it is idle.
            return
        worker.execution = None
        if worker.following is not None and worker.following.token:
            worker.execution, worker.following = worker.following, None
        elif worker.usable:
            # What follows in a record that is not durable yet came with the same end said again.
            self.ready(worker, lock)

    def stop(self) -> None:
        """Start nothing more, and let idle workers end."""
        self.crew.stopping = True
        for worker in list(self._idle):
            self.crew.dismiss(worker)
        self.wake()

    def close(self) -> None:
        """Let go: what runs goes on by itself, for the next owner to adopt."""
        self.dispatcher.unlisten(self._look_if_wanted)
        self.loop.unwatch(self._steps.fd)
        self._steps.close()
        self.endings.close()
        self.crew.close()

    def timeout_of(self, kind: str) -> float | None:
        """The limit that the unit of this kind declares."""
        unit = self.dispatcher.units.get(kind)
        return None if unit is None else unit.timeout_s

    def _unusable(self, worker: Worker) -> None:
        if worker in self._idle:
            self._idle.remove(worker)

    def _gone(self, worker: Worker) -> None:
        self._judge_if_buried(worker)
        self.wake()

    def _forgotten(self, execution: Execution) -> None:
        self.forgotten(execution)
        self._look_if_wanted()
