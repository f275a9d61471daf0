"""The end of an execution whose process is dead, or is to die: nothing of it may be left.

An opcode is judged, and what it held is free, only when no live process is left in its session
and its livelock can be locked.  Each step waits for an event of the kernel: the exit of a process
by its pidfd, the release of the lock by a thread that blocks on it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable

from jqueue.execution.loop import Loop, Timer
from jqueue.store import livelock
from jqueue.store.processes import Identity, open_pidfds, signal_session

_log = logging.getLogger(__name__)


class Burial:
    """Ends what is left of an execution, then calls `buried`, once.

    `identity` None: nobody is signaled (a claimant's process is its own), only the lock counts.
    With a `grace_s` SIGTERM comes first, else SIGKILL at once.
    """

    def __init__(
        self,
        loop: Loop,
        queue_fd: int,
        identity: Identity | None,
        lock: tuple[str, int, int] | None,
        buried: Callable[[], None],
        *,
        grace_s: float | None = None,
    ) -> None:
        self._loop = loop
        self._queue_fd = queue_fd
        self._identity = identity
        self._lock = lock
        self._buried = buried
        self._timer: Timer | None = None
        self._watched: dict[int, None] = {}
        self._signal = signal.SIGKILL
        if identity is not None and grace_s is not None:
            self._signal = signal.SIGTERM
            signal_session(identity, signal.SIGTERM)
            self._timer = loop.call_later(grace_s, self.hurry)
        self._look()

    def hurry(self) -> None:
        """End the grace: SIGKILL now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._signal is not signal.SIGKILL:
            self._signal = signal.SIGKILL
            self._look()

    @property
    def gentle(self) -> bool:
        """Whether it waits for processes that were only asked to end."""
        return self._signal is not signal.SIGKILL

    def stop(self) -> None:
        """Leave it to somebody else: `buried` is not called."""
        self._buried = lambda: None
        self._stop_watching()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def awaits(self) -> str:
        """What it waits for, in words."""
        if self._watched:
            return f"{len(self._watched)} processes of its session end"
        name = "" if self._lock is None else self._lock[0]
        return f"whoever holds its livelock {name} on, outside its session, ends"

    def _look(self) -> None:
        self._stop_watching()
        if self._identity is not None:
            # One look at all processes of the machine: what is forked meanwhile is found by the
            # next, after these have ended.
            left = open_pidfds(self._identity)
            for pidfd in left:
                if self._signal is signal.SIGKILL:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                self._watched[pidfd] = None
                self._loop.watch(pidfd, self._look)
            if left:
                return
        if self._lock is not None and not livelock.is_free(
            self._queue_fd, self._lock[0], inode=self._lock[1]
        ):
            self._wait_for_lock(self._lock[0])
            return
        if self._timer is not None:
            self._timer.cancel()
        self._buried()

    def _wait_for_lock(self, name: str) -> None:
        _log.info("livelock %s is still held by a process outside its session", name)

        wait_free = livelock.waiter(self._queue_fd, name)

        def wait() -> None:
            wait_free()
            self._loop.call_threadsafe(self._look)

        threading.Thread(target=wait, name=f"wait-{name}", daemon=True).start()

    def _stop_watching(self) -> None:
        for pidfd in self._watched:
            self._loop.unwatch(pidfd)
            os.close(pidfd)
        self._watched = {}
