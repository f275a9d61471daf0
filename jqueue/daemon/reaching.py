"""How a client's verb gets its answer: from the owner, as the owner for a moment, or by reading.

A writing verb tries the owner's socket, then the queue's lock, in turn, until one of them answers
or the time is over.  With the lock it opens the queue for that one verb.  A reading verb without an
owner reads the directory; waiting holds no lock.

What works without an owner is imported only then: a client of a daemon is a socket and little more.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jqueue.daemon.calls import Lost, NoOwner, Wire
from jqueue.errors import ForkedQueue, OutcomeUnknown, QueueFailed, QueueLocked, WaitTimeout
from jqueue.job.status import OPEN

if TYPE_CHECKING:
    from jqueue.daemon.unowned import Unowned

T = TypeVar("T")

RETRY_FIRST_S: Final = 0.01
RETRY_MAX_S: Final = 0.25
"""Between two tries of socket and lock."""
LOOK_ALONE_S: Final = 5.0
"""Without an owner something is looked for as often, if nothing appears in the directory."""
NOTHING_MORE: Final[Mapping[str, Any]] = MappingProxyType({})
_CREATING: Final = frozenset({"submit", "submit_many", "drain", "pause"})
"""Verbs that mean something to a queue that isn't there yet."""


class Reach:
    """The way to the queue at `path`, for any thread of the process that made it.

    A verb is a method's name and its arguments; the owner, `JobQueue` and `Unowned` know it alike.
    `shape` makes of the owner's answer what the other two return.
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._wire = Wire(path)
        self._opened_pid = os.getpid()
        self.on_absence: Callable[[], None] = lambda: None
        """Called when something is waited for and nobody serves the queue."""
        self._absent = False

    @cached_property
    def without_owner(self) -> Unowned:
        """What reads the directory."""
        from jqueue.daemon.unowned import Unowned  # noqa: PLC0415 - see the module

        return Unowned(self.path)

    def ask(self, method: str, args: dict[str, Any]) -> Any:
        """Ask the owner alone.  Raises NoOwner, Lost, and what the owner answers."""
        self._check_fork()
        return self._wire.call(method, args)

    def write(
        self,
        method: str,
        shape: Callable[[Any], T],
        *,
        repeatable: bool = False,
        repeated: Mapping[str, Any] = NOTHING_MORE,
        **args: Any,
    ) -> T:
        """Ask the owner, or become it for this one verb.

        `repeatable`: asked again it changes nothing more, so a connection that broke is no matter.
        `repeated` are further arguments of what is asked again.
        """
        end_s = time.monotonic() + self.timeout_s
        delay_s = RETRY_FIRST_S
        while True:
            try:
                return shape(self.ask(method, args))
            except NoOwner:
                pass
            except Lost as error:
                if not repeatable:
                    raise OutcomeUnknown(
                        f"{self.path}: the connection to the queue's owner broke before its answer;"
                        f" whether {method} happened is not known, look before you repeat it",
                        path=self.path,
                    ) from error
                args |= repeated
            try:
                done: T = self._write_alone(method, args)
                return done
            except QueueLocked:
                # Somebody owns it without listening yet, or for one verb of its own.
                if time.monotonic() >= end_s:
                    raise
            time.sleep(min(delay_s, max(end_s - time.monotonic(), 0.0)))
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    def _write_alone(self, method: str, args: dict[str, Any]) -> Any:
        from jqueue.daemon.jobqueue import JobQueue  # noqa: PLC0415 - see the module

        with JobQueue.open(self.path, create=method in _CREATING) as queue:
            return getattr(queue, method)(**args)

    def read(self, method: str, shape: Callable[[Any], T], **args: Any) -> T:
        """Ask the owner, or read the directory."""
        for _ in range(2):
            try:
                return shape(self.ask(method, args))
            except NoOwner:
                break
            except Lost:
                continue
        found: T = getattr(self.without_owner, method)(**args)
        return found

    def stream(self, method: str, shape: Callable[[Any], T], **args: Any) -> Iterator[T]:
        """Yield the parts of a long answer of the owner's, or what the directory has."""
        self._check_fork()
        try:
            yield from map(shape, self._wire.stream(method, args))
        except NoOwner:
            yield from getattr(self.without_owner, method)(**args)
        except Lost as error:
            raise QueueFailed(
                f"{self.path}: the connection to the queue's owner broke while listing; list again",
                path=self.path,
            ) from error

    def wait(
        self,
        method: str,
        shape: Callable[[Any], T],
        alone: Callable[[Unowned], T | None],
        timeout_s: float | None,
        **args: Any,
    ) -> T:
        """Let the owner say when; without one, look whenever something appears in the directory.

        `alone` is what the directory says then, None if that is not what is waited for.  Raises
        WaitTimeout, JobNotFound.
        """
        end_s = None if timeout_s is None else time.monotonic() + max(timeout_s, 0.0)
        delay_s = RETRY_FIRST_S
        with contextlib.ExitStack() as until_here:
            appears: Callable[[float], bool] | None = None
            while True:
                left_s = None if end_s is None else max(end_s - time.monotonic(), 0.0)
                try:
                    answer = self.ask(method, {**args, "timeout_s": left_s})
                except Lost:
                    continue
                except NoOwner:
                    found = alone(self.without_owner)
                else:
                    self._absent = False
                    return shape(answer)
                if found is not None:
                    return found
                if left_s is not None and left_s <= 0:
                    raise WaitTimeout(
                        f"nothing that was waited for within {timeout_s:g} s", timeout_s=timeout_s
                    )
                if appears is None:
                    # Listened to first, then looked again: what happens in between is not missed.
                    appears = self._appears(until_here)
                    continue
                # An owner's socket appears before it listens, so the next looks come soon.
                if appears(delay_s if left_s is None else min(delay_s, left_s)):
                    delay_s = RETRY_FIRST_S
                else:
                    delay_s = min(delay_s * 2, LOOK_ALONE_S)

    def _appears(self, until: contextlib.ExitStack) -> Callable[[float], bool]:
        from jqueue.store.inotify import Appearance  # noqa: PLC0415 - see the module

        if not self._absent:
            self._absent = True
            self.on_absence()
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        until.callback(os.close, directory)
        return until.enter_context(contextlib.closing(Appearance(directory))).wait

    def wait_idle(self, timeout_s: float | None) -> int:
        """Let the owner say when the queue is idle; without one it is if no job is unfinished.

        An owner that comes back within the client's own time is waited for.  Raises WaitTimeout,
        and QueueFailed when none does.
        """
        now_s = time.monotonic
        end_s = None if timeout_s is None else now_s() + max(timeout_s, 0.0)
        reach_s, delay_s = now_s() + self.timeout_s, RETRY_FIRST_S
        while True:
            left_s = None if end_s is None else max(end_s - now_s(), 0.0)
            try:
                return int(self.ask("wait_idle", {"timeout_s": left_s}))
            except Lost:
                reach_s, delay_s = now_s() + self.timeout_s, RETRY_FIRST_S
                continue
            except NoOwner:
                unfinished = self.without_owner.count(statuses=OPEN)
            if not unfinished:
                return 0
            if left_s is not None and left_s <= 0:
                text = f"not idle within {timeout_s:g} s: {unfinished} unfinished"
                raise WaitTimeout(text, timeout_s=timeout_s)
            if now_s() >= reach_s:
                text = f"{self.path}: nobody serves this queue, {unfinished} unfinished"
                raise QueueFailed(f"{text}; start jqueue daemon, or jqueue run", path=self.path)
            time.sleep(delay_s if left_s is None else min(delay_s, left_s))
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    def _check_fork(self) -> None:
        if os.getpid() != self._opened_pid:
            raise ForkedQueue(
                f"the client was made by process {self._opened_pid}; connect anew here",
                opened_pid=self._opened_pid,
            )

    def close(self) -> None:
        """Let go of the connections."""
        self._wire.close()
