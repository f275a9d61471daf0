"""The processor: gives opcodes to workers, one at a time, and takes what becomes of them.

    idle worker ── take ──▶ start record durable ──▶ start sent ──▶ … ──▶ finish durable ──▶ ok
                                                          │
             worker dead, silent, denied, canceled ──▶ buried ──▶ judged by the recorded policy

All of it runs in the loop's thread.  Nothing is sent before the record that it rests on is durable.
The rows of the worker protocol (DESIGN section 8) are the methods of `Runner`, `claims.Claims` and
`recovery.Recovery`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from jqueue.errors import JQueueError, Refused
from jqueue.execution.burial import Burial
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Channel, Execution, Lock, Options, Worker
from jqueue.execution.loop import Loop, Result, Timer
from jqueue.execution.processes import Identity
from jqueue.execution.scheduler import Pick
from jqueue.job.change import Document
from jqueue.job.failure import encode_error
from jqueue.job.status import JobStatus
from jqueue.queue.clock import Clock
from jqueue.queue.dependencies import judge_dependencies
from jqueue.queue.entries import Check
from jqueue.queue.finishing import finish
from jqueue.queue.running import EXECUTING, age, interrupted, requeue, wait_for_locks
from jqueue.store.protocol import Store

_log = logging.getLogger(__name__)

AGE_S: Final = 30.0
"""An opcode that waits for its locks rises by one priority in so much time."""
RETRY_S: Final = 1.0
"""After a failed append (a full disk) the same is tried again so much later."""
EXPECT_S: Final = 1.0
"""A worker that lost its owner is told at once when another listens."""
MAX_RESPAWN_S: Final = 10.0
"""A worker that dies before its hello is replaced later and later, up to this."""


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
        self.workers: set[Worker] = set()
        self.executions: dict[int, Execution] = {}
        """By job; a job has at most one opcode that executes."""
        self.stopping = False
        self.on_idle: Callable[[], None] | None = None
        """Called when nothing runs and nothing will start by itself."""
        self.claimants: Callable[[bool], bool] = lambda _may_start: False
        """Serves waiting claims, and says whether some still wait; set by `Claims`."""
        self.forgotten: Callable[[Execution], None] = lambda _execution: None
        """Called when an execution is over; set by `Claims`."""
        self._launch = launch
        self._idle: deque[Worker] = deque()
        self._dirty = True
        self._claims_wait = False
        self._due: Timer | None = None
        self._resting: Timer | None = None
        self._failed_launches = 0
        self._respawn: Timer | None = None
        self._expected = 0
        dispatcher.listen(self._on_batch)

    def _on_batch(self) -> None:
        # Other threads' commits are their own affair, unless there is somebody to start something.
        if self._idle or self._claims_wait or self.on_idle or self.dispatcher.urgent:
            self.wake()

    def wake(self) -> None:
        """Something may be startable; any thread."""
        if not self._dirty:
            self._dirty = True
            self.loop.call_threadsafe(lambda: None)

    # Starting

    def turn(self) -> None:
        """Start what can be started: called in each turn of the loop."""
        if not self._dirty:
            return
        self._dirty = False
        for job in self.dispatcher.take_verdicts():
            self.loop.begin(judge_dependencies(job, self.clock.now_ns()), self._judged)
        for job in self.dispatcher.take_canceling():
            self.kill(job)
        paused = self.stopping or self._resting is not None or self.store.find("pause") is not None
        if not paused:
            self._start_all()
        self._claims_wait = self.claimants(not paused)
        for job, at in self.dispatcher.take_lock_waiters():
            decide = wait_for_locks(job, at, now=self.clock.now_ns())
            self.loop.begin(decide, partial(self._waits, job, at))
        self._arm_due()
        if self.on_idle is not None and not self.executions and self._is_idle():
            self.on_idle()

    def _judged(self, result: Result) -> None:
        if result.error is not None and not isinstance(result.error, Refused):
            _log.warning("a job whose dependencies failed stays queued: %s", result.error)

    def _waits(self, job: int, op_index: int, result: Result) -> None:
        """The opcode waits for its locks: from time to time it becomes more urgent."""
        if result.error is None:
            self.loop.call_later(AGE_S, partial(self._age, job, op_index))

    def _age(self, job: int, op_index: int) -> None:
        held = self.dispatcher.why(job)
        if held is not None and held.reason == "locks":
            self.loop.begin(age(job, op_index), partial(self._waits, job, op_index))

    def _is_idle(self) -> bool:
        if self._resting is not None:
            return False
        paused = self.store.find("pause") is not None
        # Until an idle worker has looked for a job and found none, nobody knows that there is none.
        return paused or self.stopping or (bool(self._idle) and self.dispatcher.idle)

    def _start_all(self) -> None:
        limit = self.options.max_running_jobs
        while self._idle:
            if limit is not None and len(self.executions) >= limit:
                return
            pick = self.dispatcher.take(self.options.kinds)
            if pick is None:
                if self.dispatcher.more:
                    self.loop.call_threadsafe(self.wake)
                return
            self._start(self._idle.popleft(), pick)

    def _start(self, worker: Worker, pick: Pick) -> None:
        assert worker.lock is not None
        execution = Execution(
            pick.job, pick.op_index, pick.kind, worker.lock, worker=worker, identity=worker.identity
        )
        if worker.thread:
            execution.identity = None
        worker.execution, worker.lock = execution, None
        self.executions[pick.job] = execution
        decide = self.dispatcher.start(pick, execution.lock, worker.identity, thread=worker.thread)
        self.loop.begin(decide, lambda result: self._started(execution, result))

    def _started(self, execution: Execution, result: Result) -> None:
        worker = execution.worker
        assert worker is not None
        if result.error is not None:
            self.not_started(execution, result.error)
            worker.execution = None
            if worker.condemned is None:
                worker.lock = execution.lock
                self._idle.append(worker)
            return
        document: Document = result.answer
        execution.token = result.lsn
        op = document["ops"][execution.op_index]
        attempt = op.get("attempts", 0) + 1
        if worker.condemned is not None:
            # It was never told, and will not be.
            execution.denied = True
            self._judge_if_buried(worker)
            return
        job, at = execution.job, execution.op_index
        worker.tell(["start", job, at, result.lsn, attempt, op["priority"], op["input"]])
        self.arm_timeout(execution, op)

    def not_started(self, execution: Execution, error: JQueueError) -> None:
        """The record of a start did not become durable: the job is a candidate again."""
        del self.executions[execution.job]
        if not isinstance(error, Refused) and self._resting is None:
            _log.warning("opcodes can't be started for now: %s", error)
            self._resting = self.loop.call_later(RETRY_S, self._rested)
        self.dispatcher.returned(execution.job)
        self.wake()

    def _rested(self) -> None:
        self._resting = None
        self.wake()

    def arm_timeout(self, execution: Execution, op: dict[str, Any], spent_s: float = 0.0) -> None:
        """End the execution when its recorded (or own) limit is over."""
        given = op["input"].get("timeout_s") if isinstance(op["input"], dict) else None
        unit = self.dispatcher.units.get(execution.kind)
        limit = given or op.get("timeout_s") or (None if unit is None else unit.timeout_s)
        if limit is None:
            return
        execution.timeout_s = limit
        execution.timer = self.loop.call_later(
            max(limit - spent_s, 0.0), lambda: self._time_is_over(execution)
        )

    def _time_is_over(self, execution: Execution) -> None:
        execution.timer = None
        if self.executions.get(execution.job) is execution and not execution.ended:
            _log.warning(
                "opcode %d of job %d exceeds %g s",
                execution.op_index,
                execution.job,
                execution.timeout_s,
            )
            execution.timed_out = True
            self.end(execution, "its opcode exceeded its time", grace_s=self.options.kill_grace_s)

    def _arm_due(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due_in_s = self.dispatcher.due_in_s()
        if due_in_s is not None:
            # The clock may step: looked at again from time to time, whatever it said.
            self._due = self.loop.call_later(min(due_in_s, 60.0), self.wake)

    # Workers come and go

    def launch_missing(self) -> None:
        """Launch workers until there are as many as wanted."""
        if self.stopping or self._respawn is not None:
            return
        usable = sum(1 for worker in self.workers if worker.condemned is None)
        for _ in range(usable + self._expected, self.options.workers):
            worker = self._launch()
            self.workers.add(worker)
            self.watch_process(worker)

    def expect(self, workers: int) -> None:
        """So many workers of the owner before live: they get a moment to come, before others do."""
        self._expected = workers
        if workers:
            self.loop.call_later(EXPECT_S, lambda: self.arrived(workers))
        self.launch_missing()

    def arrived(self, workers: int = 1) -> None:
        """Some of those that were expected are here, or are not expected any more."""
        self._expected = max(self._expected - workers, 0)
        self.launch_missing()

    def watch_process(self, worker: Worker) -> None:
        """Learn of the worker's death at once."""
        if worker.identity is None or worker.thread:
            return
        try:
            worker.pidfd = os.pidfd_open(worker.identity.pid)
        except ProcessLookupError:
            self.loop.call_threadsafe(lambda: self._died(worker))
            return
        self.loop.watch(worker.pidfd, lambda: self._died(worker))

    def _died(self, worker: Worker) -> None:
        if worker.pidfd >= 0:
            self.loop.unwatch(worker.pidfd)
            os.close(worker.pidfd)
            worker.pidfd = -1
        reap(worker)
        if worker.channel is not None:
            worker.channel.read_out()
        if worker.condemned is None:
            self.condemn(worker, "it has died")
        elif worker.burial is not None:
            worker.burial.hurry()

    def condemn(self, worker: Worker, why: str, *, grace_s: float | None = None) -> None:
        """The worker gets no further start; its session is killed, and what it ran is judged."""
        if worker.condemned is not None:
            if worker.burial is not None and grace_s is None:
                worker.burial.hurry()
            return
        worker.condemned = why
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.silence is not None:
            worker.silence.cancel()
        busy = worker.execution
        level = logging.WARNING if busy is not None and not busy.ended else logging.DEBUG
        _log.log(level, "worker %s: %s", worker.name, why)
        lock = busy.lock if busy is not None else worker.lock
        target = None if worker.thread else worker.identity
        worker.burial = Burial(
            self.loop, self.queue_fd, target, lock, lambda: self._buried(worker), grace_s=grace_s
        )
        self.launch_missing()

    def _buried(self, worker: Worker) -> None:
        if worker.channel is not None:
            worker.channel.read_out()
            if worker.channel is not None:
                worker.channel.close()
                worker.channel = None
        if worker.pidfd >= 0:
            self.loop.unwatch(worker.pidfd)
            os.close(worker.pidfd)
            worker.pidfd = -1
        reap(worker)
        worker.burial = None
        self.workers.discard(worker)
        self._judge_if_buried(worker)
        if not worker.greeted and not self.stopping:
            self._delay_launches()
        self.launch_missing()
        self.wake()

    def _delay_launches(self) -> None:
        self._failed_launches += 1
        delay_s = min(0.1 * 2.0**self._failed_launches, MAX_RESPAWN_S)
        _log.warning("a worker died before its hello; the next is launched in %.1f s", delay_s)
        if self._respawn is None:
            self._respawn = self.loop.call_later(delay_s, self._respawned)

    def _respawned(self) -> None:
        self._respawn = None
        self.launch_missing()

    def _judge_if_buried(self, worker: Worker) -> None:
        execution = worker.execution
        if execution is not None and worker not in self.workers and execution.token:
            self.judge(execution)

    # The end of executions

    def end(self, execution: Execution, why: str, *, grace_s: float | None = None) -> None:
        """End an execution whose process may live: its session is killed, then it is judged."""
        if execution.worker is not None:
            if grace_s is not None:
                execution.worker.tell(["cancel", execution.token])
            self.condemn(execution.worker, why, grace_s=grace_s)
        elif execution.burial is None:
            execution.burial = Burial(
                self.loop,
                self.queue_fd,
                execution.identity,
                execution.lock,
                lambda: self.judge(execution),
                grace_s=grace_s,
            )
        elif grace_s is None:
            execution.burial.hurry()

    def kill(self, job: int) -> None:
        """The job is canceling: end what runs of it.  A claimant only ends by itself."""
        execution = self.executions.get(job)
        if execution is not None and execution.token and not execution.ended:
            self.end(execution, f"job {job} was canceled", grace_s=self.options.kill_grace_s)

    def judge(self, execution: Execution) -> None:
        """Nothing is left of the execution: say in a record what becomes of its opcode."""
        execution.stop_timers()
        if execution.ended:
            self._forget(execution)
            return
        job, at, token = execution.job, execution.op_index, execution.token
        now = self.clock.now_ns()
        if execution.denied and not self._is_canceling(execution):
            decide = requeue(job, at, token)
        elif execution.timed_out and not self._is_canceling(execution):
            error = encode_error(f"it exceeded its time of {execution.timeout_s:g} s")
            decide = finish(job, at, token, now=now, ok=False, result=error)
        else:
            # Ganeti's opcodes have no token: whatever runs of them is meant.
            meant: Any = token or None
            decide = interrupted(job, at, meant, now=now, counted=execution.counted)
        self.loop.begin(decide, lambda result: self._judgement(execution, result))

    def _judgement(self, execution: Execution, result: Result) -> None:
        if result.error is None:
            _log.info(
                "opcode %d of job %d: its process is gone, %s",
                execution.op_index,
                execution.job,
                "it was never begun" if execution.denied else f"now {result.answer}",
            )
        elif isinstance(result.error, Refused):
            if self._executes(execution):
                # Canceled while it was judged otherwise: now that is known.
                self.judge(execution)
                return
            # Finished by a record before: nothing is left to say.
            _log.debug("job %d: %s", execution.job, result.error)
        else:
            self.loop.call_later(RETRY_S, lambda: self.judge(execution))
            return
        self._forget(execution)

    def _forget(self, execution: Execution) -> None:
        execution.stop_timers()
        if self.executions.get(execution.job) is execution:
            del self.executions[execution.job]
        self.forgotten(execution)
        self.wake()

    def _executes(self, execution: Execution) -> bool:
        op = self._op(execution)
        return (op.get("token") or 0) == execution.token and op.get("status") in EXECUTING

    def _is_canceling(self, execution: Execution) -> bool:
        return self._op(execution).get("status") == JobStatus.CANCELING

    def _op(self, execution: Execution) -> dict[str, Any]:
        entry = self.store.find(execution.job)
        if entry is None or not entry.live:
            return {}
        op: dict[str, Any] = entry.document["ops"][execution.op_index]
        return op

    def finished(self, execution: Execution) -> None:
        """A finish of it is durable."""
        execution.ended = True
        self._forget(execution)

    # Workers ready for more

    def ready(self, worker: Worker, lock: Lock) -> None:
        """The worker is idle, and holds this livelock for its next execution."""
        worker.execution = None
        worker.lock = lock
        self._failed_launches = 0
        usable = sum(1 for other in self.workers if other.condemned is None)
        if self.stopping or usable > self.options.workers:
            self.dismiss(worker)
            return
        self._idle.append(worker)
        self.wake()

    def dismiss(self, worker: Worker) -> None:
        """Tell an idle worker to end."""
        worker.tell(["end", "it is not needed any more"])
        self.condemn(worker, "it was told to end", grace_s=self.options.kill_grace_s)

    def lost(self, worker: Worker, channel: Channel) -> None:
        """A connection broke: the worker may come back on another."""
        if worker.channel is not channel:
            return
        worker.channel = None
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.condemned is None and worker.burial is None:
            worker.silence = self.loop.call_later(
                self.options.silence_s, lambda: self.condemn(worker, "it was silent for too long")
            )

    def find_worker(self, identity: Identity) -> Worker | None:
        """Return the worker that this process is, if it is known."""
        return next((one for one in self.workers if one.identity == identity), None)

    # Stopping

    def stop(self) -> None:
        """Start nothing more, and let idle workers end."""
        self.stopping = True
        for worker in list(self._idle):
            self.dismiss(worker)
        self.wake()

    def end_all(self) -> None:
        """End all executions now; their opcodes are queued again, uncounted."""
        for execution in list(self.executions.values()):
            if not execution.claimed:
                execution.counted = False
                self.end(execution, "the queue's owner ends")
        for worker in list(self.workers):
            self.condemn(worker, "the queue's owner ends")

    def close(self) -> None:
        """Let go: what runs goes on by itself, for the next owner to adopt."""
        self.dispatcher.unlisten(self._on_batch)
        for worker in self.workers:
            if worker.pidfd >= 0:
                self.loop.unwatch(worker.pidfd)
                os.close(worker.pidfd)
                worker.pidfd = -1
            if worker.process is not None:
                # Its end is not waited for by this process: no warning about that.
                worker.process.returncode = 0


def reap(worker: Worker) -> None:
    """Take the exit status of a dead worker that is a child of ours, lest it stay a zombie."""
    if worker.process is not None:
        worker.process.wait()
    elif worker.identity is not None and not worker.thread:
        # It may be a child that an earlier owner in this process launched.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(worker.identity.pid, os.WNOHANG)
