"""A queue's owner at work: loop, socket, scheduler and workers, put together around one store."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal

from jqueue.daemon.archiving import Archiver
from jqueue.daemon.facts import Facts
from jqueue.daemon.launch import process_launcher, thread_launcher
from jqueue.daemon.reactor import LoopTimer, Reactor
from jqueue.daemon.server import Server
from jqueue.daemon.telling import Teller
from jqueue.daemon.verbs import Verbs
from jqueue.execution import builtin as _builtin  # noqa: F401 - declares the kinds of every queue
from jqueue.execution.claims import Claims
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Options, Worker
from jqueue.execution.recovery import recover
from jqueue.execution.runner import Runner
from jqueue.execution.units import UNITS, sources
from jqueue.job.status import OPEN, JobStatus
from jqueue.queue.core import QueueCore
from jqueue.queue.reading import counts
from jqueue.store import livelock

_log = logging.getLogger(__name__)

_FLAGS: Final = {"drain": "drained", "pause": "paused"}

Isolation = Literal["process", "thread"]


class Owner:
    """Serves and runs until it is stopped; `run` blocks, `stop` may come from any thread.

    One that doesn't `recovers` leaves what was running as it is, until somebody claims.
    """

    def __init__(
        self,
        core: QueueCore,
        dispatcher: Dispatcher,
        queue: str,
        queue_fd: int,
        options: Options,
        *,
        isolation: Isolation = "process",
        until_idle: bool = False,
        recovers: bool = True,
    ) -> None:
        self.core = core
        self.reactor = Reactor(core.store)
        self.options = options
        self.queue = queue
        self.recovered: list[dict[str, Any]] = []
        self.started: Callable[[], None] = lambda: None
        """Called when recovery is done, before the first turn that serves; set before `run`."""
        self.stopping: Callable[[float | None], None] = lambda _limit_s: None
        """Called when an orderly stop begins, with its limit; set before `run`."""
        self.archive_after_s = 0.0
        """How long after their end jobs are archived by themselves; 0: never; set before `run`."""
        self.metrics_port: int | None = None
        """Where figures are served on the loopback interface; set before `run`."""
        self._recovers = recovers
        self._has_recovered = threading.Event()
        if options.workers:
            options.kinds = frozenset(UNITS)
        launch = self._launcher(queue, queue_fd, isolation)
        self.runner = Runner(
            self.reactor,
            core.store,
            dispatcher,
            core.clock,
            queue_fd,
            options,
            launch,
            check=core.check,
            max_live_jobs=core.max_live_jobs,
        )
        self.claims = Claims(self.runner)
        verbs = Verbs(self.reactor, core, self.runner, self.claims)
        self.facts = Facts(self)
        self._teller = Teller(core.store)
        verbs.facts = self.facts
        verbs.before_claim = self._recover
        self.server = Server(self.reactor, self.runner, verbs, queue_fd)
        self.reactor.after_turn.append(self.runner.turn)
        self._archiver: Archiver | None = None
        self._verbs = verbs
        self._queue_fd = queue_fd
        self._deadline: LoopTimer | None = None
        if until_idle:
            self.runner.on_idle = self._idle

    def _launcher(self, queue: str, queue_fd: int, isolation: Isolation) -> Callable[[], Worker]:
        if isolation == "thread":
            # The server is made later, with the runner that launches.
            return thread_launcher(queue_fd, lambda stream: self.server.admit(stream))  # noqa: PLW0108
        found = sources() if self.options.workers else []
        return process_launcher(queue, found, orphan_timeout_s=self.options.orphan_timeout_s)

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why a job is not running, with what the scheduler knows."""
        return self._verbs.explain(id)

    # Running

    def start(self) -> None:
        """Recover what was running, then launch workers."""
        if self._recovers:
            self._recover()
        else:
            self.server.hear(False)
        # Before the first worker is launched a queue is not idle, it has not begun.
        on_idle, self.runner.on_idle = self.runner.on_idle, None
        self.reactor.settle()
        self.runner.on_idle = on_idle
        self.runner.crew.expect(len(livelock.holders(self._queue_fd, "worker") - {os.getpid()}))
        self.runner.wake()

    def _recover(self) -> None:
        """Do so once."""
        if self._has_recovered.is_set():
            return
        self.recovered = recover(self.runner)
        needed = frozenset(
            execution.lock.name for execution in self.runner.endings.executions.values()
        )
        livelock.remove_free(self._queue_fd, needed)
        self.server.hear(True)
        self._has_recovered.set()

    def recover_first(self) -> None:
        """Return when it has recovered, for a claim; on any thread but the loop's."""
        if not self._has_recovered.is_set():
            self.reactor.call_threadsafe(self._recover)
            self._has_recovered.wait()

    def summary(self) -> str:
        """Return in a line how the queue does: for the log, and for a service manager."""
        find = self.core.store.find
        counted = counts(find, OPEN)
        parts = [f"{counted[status]} {status}" for status in JobStatus if counted.get(status)]
        flags = [word for key, word in _FLAGS.items() if find(key) is not None]
        if self.runner.crew.stopping:
            flags.append("stopping")
        return "; ".join([", ".join(parts) or "no unfinished jobs", *flags])

    def _tell_start(self) -> None:
        fates = Counter(one["fate"] for one in self.recovered)
        found = ", ".join(f"{number} to {fate}" for fate, number in sorted(fates.items()))
        _log.info(
            "serving %s: %s; found running or waiting: %s",
            self.queue,
            self.summary(),
            found or "none",
        )

    def run(self) -> None:
        """Serve and run until stopped.  Raises what stopped the store."""
        try:
            if self.metrics_port is not None:
                self.facts.listen(self.metrics_port)
            self.start()
            self._tell_start()
            if self.archive_after_s:
                self._archiver = Archiver(self.core, self.archive_after_s)
                self._archiver.run(self.reactor, self._verbs.readers)
            self.started()
            self.reactor.run()
        finally:
            self.close()
        if self.reactor.failure is not None:
            raise self.reactor.failure
        left = len(self.runner.endings.executions)
        _log.info("stopped; opcodes left to the next owner: %d", left)

    def _idle(self) -> None:
        if not self.runner.crew.stopping:
            self.runner.on_idle = None
            self.stop()

    # Stopping

    def stop(self, limit_s: float | None = None) -> None:
        """Start nothing more; return from `run` when what runs has ended, or after `limit_s`."""
        self.reactor.call_threadsafe(lambda: self._stop(limit_s))

    def _stop(self, limit_s: float | None) -> None:
        if not self.runner.crew.stopping:
            self.runner.stop()
            self.stopping(limit_s)
            self.runner.on_idle = self._all_ended
            self.reactor.after_turn.append(self._check_ended)
        if limit_s is not None and self._deadline is None:
            self._deadline = self.reactor.call_later(limit_s, self.stop_now)
        self.runner.wake()

    def _all_ended(self) -> None:
        """Nothing executes any more; workers that were told to end may still be about to."""

    def _check_ended(self) -> None:
        ours = [one for one in self.runner.endings.executions.values() if not one.claimed]
        if not ours and not self.runner.crew.workers:
            # Once: what is called after each turn must not begin the next turn for ever.
            self.reactor.after_turn.remove(self._check_ended)
            self.stop_now()

    def stop_now(self) -> None:
        """Return from `run` at once; what runs goes on, for the next owner to adopt."""
        self.reactor.stop()

    def end_workers(self) -> None:
        """End what runs, now, and return from `run` when it is over; it is queued again."""
        self._stop(None)
        self.runner.endings.end_all()

    def close(self) -> None:
        """Let go of socket, timers and workers."""
        self._has_recovered.set()
        self.server.close()
        if self._archiver is not None:
            self._archiver.close()
        self._verbs.close()
        self.facts.close()
        self._teller.close()
        self.runner.close()
        self.reactor.close()
