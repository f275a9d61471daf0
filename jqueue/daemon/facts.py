"""What an owner can say of itself: who it is, whom it employs, what runs.  In the loop's thread."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from jqueue.daemon.tally import Tally
from jqueue.errors import QueueFailed
from jqueue.execution.executions import Execution, Worker
from jqueue.job.snapshot import as_datetime
from jqueue.store import condition
from jqueue.store.processes import boot_id

if TYPE_CHECKING:
    from jqueue.daemon.owner import Owner

_log = logging.getLogger(__name__)

LOOP_TIMEOUT_S: Final = 5.0
"""Who asks for figures gets none, and knows why, when the loop doesn't answer for so long."""
MAX_LISTED: Final = 1000
"""Workers and executions that an answer names; a person reads fewer."""


class Facts:
    """The figures of one owner."""

    def __init__(self, owner: Owner) -> None:
        self.tally = Tally(owner.core.store)
        self.since = time.time()
        self.port: int | None = None
        """Where the figures are served."""
        self._owner = owner
        self._stop_listening: Callable[[], None] = lambda: None

    def now(self) -> dict[str, Any]:
        """Return what only the owner knows, as JSON, for the verb `status`."""
        owner, runner = self._owner, self._owner.runner
        crew = sorted(map(_worker, runner.crew.workers), key=lambda one: one["pid"] or 0)
        executions = [self._execution(one) for one in runner.endings.executions.values()]
        begun = [one["since"] for one in executions if one["since"] is not None]
        return {
            **getattr(owner.core.store, "status", dict)(),
            **condition.place(owner.queue),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot_id": boot_id(),
            "since": self.since,
            "workers": runner.crew.usable,
            "workers_wanted": owner.options.workers,
            "crew": crew[:MAX_LISTED],
            "running": len(executions),
            "executions": executions[:MAX_LISTED],
            "oldest_running": min(begun, default=None),
            "kinds": sorted(owner.options.kinds),
            "stopping": runner.crew.stopping,
            "resting": runner.resting,
            "launch_failure": runner.crew.launch_failure,
            "connections": owner.server.connections,
            "recovered": Counter(one["fate"] for one in owner.recovered),
            "totals": self.tally.to_dict(),
        }

    def metrics(self, now: dict[str, Any]) -> str:
        """Return the figures as Prometheus text; any thread, `now` is from the loop's."""
        # Imported here: the library is loaded by who is asked for figures, not by every program.
        from jqueue.daemon import metrics  # noqa: PLC0415

        return metrics.text(metrics.registry(lambda: {**self._owner.core.reader.status(), **now}))

    def listen(self, port: int) -> None:
        """Serve the figures on a port of the loopback interface until `close`; 0: any that is free.

        Raises QueueFailed.
        """
        from jqueue.daemon import metrics  # noqa: PLC0415  # as above

        read = self._owner.core.reader.status
        figures = metrics.registry(lambda: {**read(), **self._ask_loop()})
        try:
            self.port, self._stop_listening = metrics.listen(figures, port)
        except OSError as error:
            text = f"{self._owner.queue}: metrics can't be served on port {port}: {error.strerror}"
            raise QueueFailed(text, path=self._owner.queue) from error
        _log.info("metrics: http://%s:%d/metrics", metrics.LOOPBACK, self.port)

    def _ask_loop(self) -> dict[str, Any]:
        """Return `now` from another thread.  Raises TimeoutError when the loop doesn't turn."""
        answer: Future[dict[str, Any]] = Future()
        self._owner.reactor.call_threadsafe(lambda: answer.set_result(self.now()))
        return answer.result(LOOP_TIMEOUT_S)

    def close(self) -> None:
        """Count and serve no more."""
        self._stop_listening()
        self.tally.close()

    def _execution(self, execution: Execution) -> dict[str, Any]:
        entry = self._owner.core.store.find(execution.job)
        document = None if entry is None else entry.document
        op = {} if document is None else document["ops"][execution.op_index]
        began = as_datetime(op.get("exec_timestamp"))
        return {
            "job": execution.job,
            "op": execution.op_index,
            "kind": execution.kind,
            "since": None if began is None else began.timestamp(),
            "pid": None if execution.identity is None else execution.identity.pid,
            "claimed": execution.claimed,
        }


def _worker(worker: Worker) -> dict[str, Any]:
    busy = worker.execution
    return {
        "pid": None if worker.identity is None else worker.identity.pid,
        "state": _state(worker),
        "why": worker.condemned,
        "job": None if busy is None else busy.job,
    }


def _state(worker: Worker) -> str:
    if worker.condemned is not None:
        return "ending"
    if not worker.greeted:
        return "starting"
    if worker.channel is None:
        return "silent"
    return "idle" if worker.execution is None else "busy"
