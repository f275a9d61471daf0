"""A worker: `python -m jqueue.execution.worker CONFIG` carries out opcodes, one after another.

It is exec'd in a session of its own, takes its own livelocks, and outlives the owner that launched
it: see `line.WorkerLine`.  CONFIG is a JSON object: queue, load, path, orphan_timeout_s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any

from jqueue.errors import InvalidJob
from jqueue.execution import builtin as _builtin  # noqa: F401 - declares the kinds of every queue
from jqueue.execution.context import ENDED, Context, to_inputs
from jqueue.execution.line import Ended, WorkerLine
from jqueue.execution.units import UNITS, ResultWithJobs, Unit, load
from jqueue.execution.wire import SOCKET
from jqueue.job import jsonio
from jqueue.job.failure import encode_error
from jqueue.job.jsonio import check_storable
from jqueue.job.opcode import OpCode
from jqueue.store import livelock, processes
from jqueue.store.inotify import Appearance


class Executor:
    """Takes starts from a line, carries them out, hands the results in."""

    def __init__(self, line: WorkerLine, queue_fd: int, units: Mapping[str, Unit]) -> None:
        self._line = line
        self._queue_fd = queue_fd
        self._units = units
        self._held: set[livelock.Livelock] = set()
        self._reusable: list[str] = []
        self._renewed: str | None = None
        """The name that the next livelock gets."""
        self.context: Context | None = None
        line.on_cancel = self.cancel
        line.release = self._release

    def run(self) -> None:
        """Work until the line ends."""
        held = self._take()
        try:
            self._line.start(held)
            while True:
                held = self._carry_out(self._line.next(), held)
        except Ended:
            for one in self._held:
                livelock.release(self._queue_fd, one)
            for name in filter(None, (*self._reusable, self._renewed)):
                livelock.remove(self._queue_fd, name)

    def _take(self) -> livelock.Livelock:
        renewed, self._renewed = self._renewed, None
        taken = livelock.take(self._queue_fd, "worker", renewed=renewed)
        self._held.add(taken)
        return taken

    def _renew(self) -> None:
        """Have a name ready for the livelock after the next: the owner is at the finish now.

        It is locked only when it is taken: what the next opcode forks must not hold it.
        """
        if self._renewed is None and self._reusable:
            self._renewed = livelock.renew(self._queue_fd, "worker", self._reusable.pop())

    def _release(self, held: livelock.Livelock) -> None:
        """Let go of the livelock of an execution that is over; its name is not used again."""
        self._held.discard(held)
        os.close(held.fd)
        self._reusable.append(held.name)

    def cancel(self) -> None:
        """Tell the unit that somebody wants it to end."""
        context = self.context
        if context is not None:
            context.cancel_requested = True

    def _carry_out(self, message: list[Any], held: livelock.Livelock) -> livelock.Livelock:
        """Execute, hand in the result, and return the livelock of the next execution."""
        _, job, at, _token, attempt, priority, op_input = message
        try:
            unit, op = self._understand(op_input)
        except InvalidJob as error:
            # What this code can't do another's may: that is no failure of the job's.
            following = self._take()
            self._line.decline(following, str(error))
            return following
        self.context = Context(job, at, attempt, priority, self._line, livelock_fd=held.fd)
        try:
            ok, result, children, on_refusal = _execute(unit, op, self.context)
        finally:
            # A thread that the unit has left must not speak for the next opcode.
            self.context.line = ENDED
            self.context = None
        # Only now: what the opcode has left behind must not hold it.
        following = self._take()
        self._line.finish(following, ok, result, children, on_refusal)
        self._renew()
        return following

    def _understand(self, op_input: dict[str, Any]) -> tuple[Unit, OpCode]:
        """Return the unit and its typed opcode.  Raises InvalidJob if this code knows none."""
        op_id = op_input["OP_ID"]
        unit = self._units.get(op_id)
        if unit is None:
            raise InvalidJob(f"no logical unit for {op_id} is loaded here", field="OP_ID")
        return unit, unit.parse(op_input)


def _execute(unit: Unit, op: OpCode, context: Context) -> tuple[bool, Any, list[Any] | None, str]:
    """Run the unit; return whether it succeeded, its result, its children, and what if refused."""
    try:
        value = unit.function(op, context)
        if isinstance(value, ResultWithJobs):
            others = check_storable(value.others)
            return True, others, to_inputs(value.jobs), value.on_refusal
        return True, check_storable(value), None, "report"
    except Ended:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a unit raises is its result
        return False, encode_error(error), None, "report"


def dial(queue_fd: int) -> socket.socket:
    """Connect to the socket of the queue's owner, however long its path is.

    Raises OSError, and Ended when the directory has been removed.
    """
    if os.fstat(queue_fd).st_nlink == 0:
        raise Ended("the queue's directory was removed")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{queue_fd}/{SOCKET}")
    except OSError:
        connection.close()
        raise
    return connection


def main(arguments: list[str]) -> int:
    """Be a worker until nobody needs one any more."""
    config = jsonio.loads(arguments[0].encode())
    sys.path[:] = config["path"]
    os.dup2(2, 1)  # what a unit prints goes where the owner's log goes, never into its answers
    queue_fd = os.open(config["queue"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    executor: Executor | None = None

    def on_term(_number: int, _frame: FrameType | None) -> None:
        if executor is None or executor.context is None:
            os._exit(0)
        executor.cancel()

    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for source in config["load"]:
        load(source)
    identity = processes.myself()
    line = WorkerLine(
        lambda: dial(queue_fd),
        identity,
        orphan_timeout_s=config["orphan_timeout_s"],
        ended=lambda: _leave(executor),
        wait_for_owner=Appearance(queue_fd).wait,
    )
    executor = Executor(line, queue_fd, UNITS)
    executor.run()
    return 0


def _leave(executor: Executor | None) -> None:
    """The line has ended: a unit that still executes does so for nobody."""
    if executor is not None and executor.context is not None:
        executor.cancel()
        with contextlib.suppress(OSError):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
