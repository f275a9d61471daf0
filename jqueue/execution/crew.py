"""The workers of one owner: launched, watched, condemned, buried.

    launched or adopted ──▶ greeted ──▶ … ──▶ condemned ──▶ buried: nothing of it is left

A worker is condemned when it died, was silent or loading for too long, was denied or canceled, or
is needed no more.  It gets no further start; what it ran is judged once it is buried.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Final

from jqueue.execution.burial import Burial
from jqueue.execution.executions import Channel, Options, Worker
from jqueue.execution.loop import Loop, Timer
from jqueue.store.processes import Identity

_log = logging.getLogger(__name__)

MAX_LOAD_S: Final = 3600.0
"""The limit for loading units doubles at most to this, unless it is set to more."""
EXPECT_S: Final = 1.0
"""A worker that lost its owner is told at once when another listens."""
MAX_RESPAWN_S: Final = 10.0
"""A worker that is lost before its hello is replaced later and later, up to this."""
MIN_RESPAWN_S: Final = 0.2


class Crew:
    """All workers.  `launch` starts one; it says hello on its connection.  In the loop's thread."""

    def __init__(
        self, loop: Loop, queue_fd: int, options: Options, launch: Callable[[], Worker]
    ) -> None:
        self.loop = loop
        self.queue_fd = queue_fd
        self.options = options
        self.workers: set[Worker] = set()
        self.stopping = False
        self.unusable: Callable[[Worker], None] = lambda _worker: None
        """Called when a worker can't take an opcode any more, or for now; set by `Runner`."""
        self.gone: Callable[[Worker], None] = lambda _worker: None
        """Called when nothing is left of a worker; set by `Runner`."""
        self._launch = launch
        self._load_limit_s = options.load_limit_s
        self._delay_s = MIN_RESPAWN_S
        self.launch_failure: str | None = None
        """Why the worker that was launched last was lost before its hello."""
        self._respawn: Timer | None = None
        self._expected = 0

    @property
    def usable(self) -> int:
        """How many workers are not condemned."""
        return sum(1 for worker in self.workers if worker.condemned is None)

    def launch_missing(self) -> None:
        """Launch workers until there are as many as wanted."""
        if self.stopping or self._respawn is not None:
            return
        for _ in range(self.usable + self._expected, self.options.workers):
            worker = self._launch()
            self.workers.add(worker)
            self.watch_process(worker)
            if not worker.thread:
                limit_s = self._load_limit_s
                give_up = partial(self._give_up, worker, limit_s)
                worker.silence = self.loop.call_later(limit_s, give_up)

    def _give_up(self, worker: Worker, limit_s: float) -> None:
        """It has loaded for so long; whoever is launched next has twice the time."""
        self._load_limit_s = max(self._load_limit_s, min(2 * limit_s, MAX_LOAD_S))
        self.condemn(worker, f"it was still loading its units after {limit_s:g} s")

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
        self.unusable(worker)
        if worker.silence is not None:
            worker.silence.cancel()
        busy = worker.execution
        level = logging.WARNING if busy is not None and not busy.ended else logging.DEBUG
        named = {} if busy is None else busy.named
        _log.log(level, "worker %s: %s", worker.name, why, extra=named)
        lock = busy.lock if busy is not None else worker.lock
        target = None if worker.thread else worker.identity
        if not (worker.greeted or worker.adopted or self.stopping):
            self._delay_launches(worker)
        burial = Burial(
            self.loop, self.queue_fd, target, lock, lambda: self._buried(worker), grace_s=grace_s
        )
        # It may be buried by now.
        worker.burial = None if worker.gone else burial
        # At once: another loads its units meanwhile.  Nothing is free by that: what the opcode
        # holds is held by the record of its start, until that of its judgement is durable.
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
        worker.gone = True
        self.gone(worker)
        self.launch_missing()

    def _delay_launches(self, worker: Worker) -> None:
        self.launch_failure = f"{worker.name}: {worker.condemned}"
        text = "a worker was lost before its hello (%s); the next is launched within %.1f s"
        _log.warning(text, self.launch_failure, self._delay_s)
        if self._respawn is None:
            self._respawn = self.loop.call_later(self._delay_s, self._respawned)

    def _respawned(self) -> None:
        self._respawn = None
        self._delay_s = min(2 * self._delay_s, MAX_RESPAWN_S)
        self.launch_missing()

    def lost(self, worker: Worker, channel: Channel) -> None:
        """A connection broke: the worker may come back on another."""
        if worker.channel is not channel:
            return
        worker.channel = None
        self.unusable(worker)
        if worker.condemned is None and worker.burial is None:
            worker.silence = self.loop.call_later(
                self.options.silence_s, lambda: self.condemn(worker, "it was silent for too long")
            )

    def find(self, identity: Identity) -> Worker | None:
        """Return the worker that this process is, if it is known."""
        return next((one for one in self.workers if one.identity == identity), None)

    def dismiss(self, worker: Worker) -> None:
        """Tell an idle worker to end."""
        worker.tell(["end", "it is not needed any more"])
        self.condemn(worker, "it was told to end", grace_s=self.options.kill_grace_s)

    def proved(self) -> None:
        """A worker that was launched has loaded its units and said hello: launching works."""
        self._load_limit_s = self.options.load_limit_s
        self._delay_s = MIN_RESPAWN_S
        self.launch_failure = None

    def end_all(self, why: str) -> None:
        """Kill all of them."""
        for worker in list(self.workers):
            self.condemn(worker, why)

    def close(self) -> None:
        """Let go: what they run goes on by itself, for the next owner to adopt."""
        for worker in self.workers:
            if worker.burial is not None:
                worker.burial.stop()
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
