"""What an owner finds at its start: opcodes that were running, and what becomes of each.

    livelock held, worker alive   it is expected to say hello, and goes on; silent: killed, judged
    livelock free                 what is left of its session is killed, then it is judged
    canceling                     its end goes on
    a claimant's                  judged when its livelock is free
    Ganeti's, or without a start  judged at once

Judged is by the policy that the record of its start holds.  Such a loss is not counted against the
limit: the worker didn't die under a living owner (but a thread of the owner did).  One that lives
on and is lost afterwards is counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeGuard

from jqueue.execution.burial import Burial
from jqueue.execution.dispatch import unsettled
from jqueue.execution.executions import Execution, Lock
from jqueue.execution.loop import Loop
from jqueue.execution.runner import Runner
from jqueue.job.interruption import Interruption, is_unresolved, status_after
from jqueue.job.status import JobStatus
from jqueue.queue.clock import Clock
from jqueue.queue.running import stop_waiting
from jqueue.store import livelock
from jqueue.store.processes import Identity, boot_id, session_members
from jqueue.store.protocol import Snapshot

_log = logging.getLogger(__name__)


class Vigil:
    """Until a worker of an owner before says hello: its death is noticed at once, silence later."""

    def __init__(
        self, loop: Loop, identity: Identity, silence_s: float, end: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._end = end
        self._timer = loop.call_later(silence_s, partial(end, "its worker is silent"))
        self._pidfd: int | None = None
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(identity.pid)
            loop.watch(self._pidfd, self._died)
        # Looked at only now: the descriptor holds on to whoever has the pid.
        if not identity.is_alive():
            loop.call_threadsafe(self._died)

    def _died(self) -> None:
        self.cancel()
        self._end("its worker has died")

    def cancel(self) -> None:
        """It is here, or nothing is left of it."""
        self._timer.cancel()
        if self._pidfd is not None:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


class Found(NamedTuple):
    """One opcode that was running, waiting, or set aside."""

    job: int
    op_index: int
    op: dict[str, Any]
    lock: Lock | None
    identity: Identity | None
    fate: str
    """What recovery does: adopt, kill, wait, judge, requeue, or leave."""

    @property
    def counted(self) -> bool:
        """Whether the loss of its process counts as an interruption: it lives under this owner."""
        return self.fate in ("adopt", "wait") or _ran_in_owner(self.op)

    @property
    def after(self) -> str:
        """The opcode's status when that is done."""
        if self.fate == "requeue":
            return JobStatus.QUEUED.value
        if self.fate in ("kill", "bury", "judge"):
            return status_after(self.op, counted=self.counted).value
        return str(self.op["status"])

    def describe(self) -> dict[str, Any]:
        """Return it as `recover --plan` shows it."""
        return {
            "job": self.job,
            "op": self.op_index,
            "status": str(self.op["status"]),
            "fate": self.fate,
            "after": self.after,
            "policy": str(self.op.get("interruption", Interruption.REQUEUE)),
            "pid": None if self.identity is None else self.identity.pid,
            "text": _TEXTS[self.fate].format(becomes=_BECOMES.get(self.after, "")),
        }


_TEXTS = {
    "adopt": "its worker lives: it is adopted, and goes on",
    "kill": "the kill goes on: its processes are ended, then {becomes}",
    "wait": "its claimant lives: it goes on",
    "judge": "its process is gone: {becomes}",
    "bury": "its worker is dead, but has left processes: they are killed, then {becomes}",
    "requeue": "it waited: it is queued again",
    "leave": "it is set aside until somebody says what happened (jqueue resolve)",
}
_BECOMES = {
    "queued": "it is queued again",
    "error": "it fails",
    "waiting": "it is set aside until somebody says what happened (jqueue resolve)",
    "canceled": "it is canceled",
}


def find(moment: Snapshot, queue_fd: int) -> Iterator[Found]:
    """Yield what was running, waiting or set aside, and its fate; changes nothing."""
    for job, at, op in unsettled(moment):
        yield _examine(queue_fd, job, at, op)


def _examine(queue_fd: int, job: int, at: int, op: dict[str, Any]) -> Found:
    if op["status"] == JobStatus.WAITING:
        fate = "leave" if is_unresolved(op) else "requeue"
        return Found(job, at, op, None, None, fate)
    name, worker = op.get("livelock"), op.get("worker")
    if not isinstance(name, str) or not livelock.is_name(name):
        return Found(job, at, op, None, None, "judge")
    place = livelock.place_of(queue_fd, name)
    held = place is not None and not livelock.is_free(queue_fd, name, inode=place.inode)
    if place is None or _is_copied(place, worker, held=held):
        return Found(job, at, op, None, None, "judge")
    lock = Lock(name, *place)
    identity = None if _is_thread(worker) else Identity.parse(worker)
    if identity is None:
        return Found(job, at, op, lock, None, "wait" if held else "judge")
    if op["status"] == JobStatus.CANCELING:
        return Found(job, at, op, lock, identity, "kill")
    if held and identity.is_alive():
        return Found(job, at, op, lock, identity, "adopt")
    left = held or session_members(identity)
    return Found(job, at, op, lock, identity, "bury" if left else "judge")


def _is_copied(place: livelock.Place, worker: Any, *, held: bool) -> bool:
    """Whether the directory is a copy: that process works for the original, and is none of ours.

    Without a livelock nothing proves that a process is ours, either: a copy may lack them.  Who
    holds the very file is ours, whatever the device is called now.
    """
    recorded = worker if isinstance(worker, dict) else {}
    if recorded.get("inode", place.inode) != place.inode:
        return True
    return not held and bool(recorded.get("device", place.device) != place.device)


def recover(runner: Runner) -> list[dict[str, Any]]:
    """Begin to do what each fate says; return the descriptions, for the log and the summary."""
    described = []
    with runner.store.snapshot() as moment:
        for found in find(moment, runner.queue_fd):
            described.append(found.describe())
            _recover(runner, found)
    for one in described:
        named = {name: one[name] for name in ("job", "op", "pid")}
        _log.info("job %(job)d, opcode %(op)d was %(status)s: %(text)s", one, extra=named)
    return described


def _recover(runner: Runner, found: Found) -> None:
    if found.fate == "leave":
        return
    if found.fate == "requeue":
        runner.loop.begin(stop_waiting(found.job, found.op_index), lambda _: runner.wake())
        return
    execution = Execution(
        found.job,
        found.op_index,
        "",
        found.lock or Lock("", 0),
        found.op.get("token") or 0,
        found.identity,
        claimed=found.identity is None,
        counted=found.counted,
    )
    given = found.op["input"]
    execution.kind = str(given.get("OP_ID", "")) if isinstance(given, dict) else ""
    runner.endings.executions[found.job] = execution
    if found.fate == "adopt":
        assert found.identity is not None
        execution.silence = Vigil(
            runner.loop,
            found.identity,
            runner.options.silence_s,
            partial(runner.endings.end, execution),
        )
    else:
        grace_s = runner.options.kill_grace_s if found.fate == "kill" else None
        _bury(runner, execution, found.lock, grace_s)
    if found.fate in ("adopt", "wait"):
        spent_s = _spent_s(found.op, runner.clock)
        runner.endings.arm_timeout(execution, found.op, spent_s=spent_s)


def _bury(runner: Runner, execution: Execution, lock: Lock | None, grace_s: float | None) -> None:
    execution.burial = Burial(
        runner.loop,
        runner.queue_fd,
        execution.identity,
        lock,
        lambda: runner.endings.judge(execution),
        grace_s=grace_s,
    )


def _ran_in_owner(op: dict[str, Any]) -> bool:
    """Whether a thread of the owner executed it: it may be what ended the owner, each time anew."""
    worker = op.get("worker")
    return _is_thread(worker) and worker.get("boot_id") == boot_id()


def _is_thread(worker: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(worker, dict) and worker.get("thread") is True


def _spent_s(op: dict[str, Any], clock: Clock) -> float:
    """How long it has run: by the steady clock, for who lives on is of this boot."""
    worker = op.get("worker")
    began_s = worker.get("began_s") if isinstance(worker, dict) else None
    return max(clock.steady_s() - began_s, 0.0) if isinstance(began_s, int | float) else 0.0
