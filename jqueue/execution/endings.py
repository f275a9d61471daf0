"""The end of executions: by a finish, or by a judgement when nothing of them is left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from jqueue.errors import Refused
from jqueue.execution.burial import Burial
from jqueue.execution.crew import Crew
from jqueue.execution.executions import Execution, Options
from jqueue.execution.loop import Loop, Result
from jqueue.job.failure import encode_error
from jqueue.job.status import JobStatus
from jqueue.queue.clock import Clock
from jqueue.queue.finishing import finish
from jqueue.queue.running import EXECUTING, interrupted, requeue
from jqueue.store.protocol import Store

_log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""After a failed append (a full disk) the same is tried again so much later."""


class Endings:
    """All executions, by job, and how each ends.  In the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        clock: Clock,
        queue_fd: int,
        options: Options,
        crew: Crew,
    ) -> None:
        self.loop = loop
        self.store = store
        self.clock = clock
        self.queue_fd = queue_fd
        self.options = options
        self.crew = crew
        self.executions: dict[int, Execution] = {}
        """A job has at most one opcode that executes."""
        self.forgotten: Callable[[Execution], None] = lambda _execution: None
        """Called when an execution is over; set by `Runner`."""

    def end(self, execution: Execution, why: str, *, grace_s: float | None = None) -> None:
        """End an execution whose process may live: its session is killed, then it is judged."""
        if execution.worker is not None:
            if grace_s is not None:
                execution.worker.tell(["cancel", execution.token])
            self.crew.condemn(execution.worker, why, grace_s=grace_s)
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
        if execution is None or execution.ended:
            return
        if not execution.token:
            execution.cancel_wanted = True
            return
        self.end(execution, f"job {job} was canceled", grace_s=self.options.kill_grace_s)

    def began(
        self, execution: Execution, op: dict[str, Any], default_s: float | None = None
    ) -> None:
        """The record of its start is durable: it has its time from now on, and can be ended."""
        self.arm_timeout(execution, op, default_s)
        if execution.cancel_wanted:
            self.kill(execution.job)

    def judge(self, execution: Execution) -> None:
        """Nothing is left of the execution: say in a record what becomes of its opcode."""
        execution.stop_timers()
        if execution.ended:
            self._forget(execution)
            return
        execution.judged = True
        job, at, token = execution.job, execution.op_index, execution.token
        now = self.clock.now_ns()
        if execution.denied and not self.is_canceling(execution):
            decide = requeue(job, at, token)
        elif execution.timed_out and not self.is_canceling(execution):
            error = encode_error(f"it exceeded its time of {execution.timeout_s:g} s")
            decide = finish(job, at, token, now=now, ok=False, result=error)
        else:
            # Ganeti's opcodes have no token: whatever runs of them is meant.
            meant: Any = token or None
            decide = interrupted(job, at, meant, now=now, counted=execution.counted)
        self.loop.begin(decide, lambda result: self._judgement(execution, result))

    def _judgement(self, execution: Execution, result: Result) -> None:
        if result.error is None:
            _log.warning(
                "opcode %d of job %d: its process is gone, %s",
                execution.op_index,
                execution.job,
                "it was never begun" if execution.denied else f"now {result.answer}",
                extra=execution.named,
            )
        elif isinstance(result.error, Refused):
            if self._executes(execution):
                # Canceled while it was judged otherwise: now that is known.
                self.judge(execution)
                return
            # Finished by a record before: nothing is left to say.
            _log.debug("job %d: %s", execution.job, result.error, extra=execution.named)
        else:
            self.loop.call_later(RETRY_S, lambda: self.judge(execution))
            return
        self._forget(execution)

    def _forget(self, execution: Execution) -> None:
        execution.stop_timers()
        if self.executions.get(execution.job) is execution:
            del self.executions[execution.job]
        self.forgotten(execution)

    def _executes(self, execution: Execution) -> bool:
        op = self._op(execution)
        return (op.get("token") or 0) == execution.token and op.get("status") in EXECUTING

    def is_canceling(self, execution: Execution) -> bool:
        """Whether its cancellation is durable."""
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

    def arm_timeout(
        self,
        execution: Execution,
        op: dict[str, Any],
        default_s: float | None = None,
        *,
        spent_s: float = 0.0,
    ) -> None:
        """End the execution when its own limit is over, or that recorded, or its unit's."""
        given = op["input"].get("timeout_s") if isinstance(op["input"], dict) else None
        limit = given or op.get("timeout_s") or default_s
        if limit is None:
            return
        execution.timeout_s = limit
        execution.timer = self.loop.call_later(
            max(limit - spent_s, 0.0), lambda: self.time_is_over(execution)
        )

    def time_is_over(self, execution: Execution) -> None:
        """End it, unless it has ended."""
        execution.timer = None
        if self.executions.get(execution.job) is execution and not execution.ended:
            _log.warning(
                "opcode %d of job %d exceeds %g s",
                execution.op_index,
                execution.job,
                execution.timeout_s,
                extra=execution.named,
            )
            execution.timed_out = True
            self.end(execution, "its opcode exceeded its time", grace_s=self.options.kill_grace_s)

    def close(self) -> None:
        """Let go: who owns the queue next looks after all of them."""
        for execution in self.executions.values():
            execution.stop_timers()
            if execution.burial is not None:
                execution.burial.stop()

    def end_all(self) -> None:
        """End all executions now; their opcodes are queued again, uncounted."""
        for execution in list(self.executions.values()):
            if not execution.claimed:
                execution.counted = False
                self.end(execution, "the queue's owner ends")
        self.crew.end_all("the queue's owner ends")
