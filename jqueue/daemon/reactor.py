"""The daemon's loop: one thread, one epoll, one sync a turn for everything that became ready.

    poll ─▶ handlers (begin transactions) ─▶ flush: one write, one fdatasync ─▶ continuations
     ▲       ▲ │                               ▲                                   │
     │       └─┘ while something else has come │                                   │
     └─────────────────────────────────────────┴─── while continuations begin more ┘

Measured against asyncio (bench/loops.py): no executor hand-over and no task per message, and all
that gathered during one sync shares the next.  Nothing here polls: timers are epoll's timeout,
other threads and signals write to a pipe.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from jqueue.errors import JQueueError, OutcomeUnknown
from jqueue.execution.loop import Continuation, Result
from jqueue.queue.answer import Answered, answer_of
from jqueue.store.protocol import Decide, Store, Ticket

_log = logging.getLogger(__name__)

MAX_EVENTS_A_TURN: Final = 256
LOOKS_BEFORE_SYNC: Final = 3
"""What came while the turn's events were dealt with shares their sync; so often at most."""
LONG_TURN_S: Final = 0.02
"""Peers that send many requests at once leave the rest to the next turn then: others' commits wait
for a turn's end."""
MAX_POLL_S: Final = 3600.0
"""The kernel takes no more than 2³¹ ms: farther timers are looked at again in between."""


class LoopTimer:
    """A call at a moment of monotonic time."""

    __slots__ = ("at_s", "call", "number")
    _numbers = itertools.count()

    def __init__(self, at_s: float, call: Callable[[], None]) -> None:
        self.at_s = at_s
        self.call: Callable[[], None] | None = call
        self.number = next(self._numbers)

    def cancel(self) -> None:
        """Don't call."""
        self.call = None

    def __lt__(self, other: LoopTimer) -> bool:
        return (self.at_s, self.number) < (other.at_s, other.number)


class Reactor:
    """Runs handlers, gathers transactions, syncs once a turn, continues; see `loop.Loop`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failure: JQueueError | None = None
        """Why the store can't go on; `run` then returns."""
        self.after_turn: list[Callable[[], None]] = []
        """Called before each sync, for what follows from the turn's events; may begin more."""
        self._poll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._timers: list[LoopTimer] = []
        self._begun: deque[tuple[Ticket, Continuation]] = deque()
        self._outside: deque[tuple[Decide, Continuation]] = deque()
        """Submissions that wait for room in the store."""
        self._soon: deque[Callable[[], None]] = deque()
        self._signals: dict[int, Callable[[], None]] = {}
        self._handled_before: dict[signal.Signals, Any] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken = False
        self._mutex = threading.Lock()
        self._stopped = False
        self._closed = False
        self._thread: int | None = None
        self._long_at_s: float | None = None
        self.watch(self._wake_read, self._drain_wakes)

    # For handlers, in the loop's thread

    def begin(self, decide: Decide, then: Continuation) -> None:
        """Append a transaction; `then` is called once it is durable, or with its refusal."""
        try:
            ticket: Ticket = self.store.begin(decide)
        except JQueueError as error:
            ticket = _Failed(error)
        self._begun.append((ticket, then))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is begun that is not durable yet."""
        return not self._begun and not self._outside

    def begin_submission(self, decide: Decide, then: Continuation) -> None:
        """Append like `begin`, in order, once the store has room for more."""
        self._outside.append((decide, then))
        self._admit()

    def _admit(self) -> None:
        while self._outside:
            try:
                if not self.store.when_room(self._admit_soon):
                    return
            except JQueueError as error:
                _, then = self._outside.popleft()
                self._begun.append((_Failed(error), then))
            else:
                self.begin(*self._outside.popleft())

    def _admit_soon(self) -> None:
        self.call_threadsafe(self._admit)

    def is_long(self) -> bool:
        """Whether this turn goes on for long since it was first asked so."""
        now_s = time.monotonic()
        if self._long_at_s is None:
            self._long_at_s = now_s + LONG_TURN_S
        return now_s > self._long_at_s

    def call_soon(self, call: Callable[[], None]) -> None:
        """Call in this turn, before the next sync."""
        self._soon.append(call)

    def watch(self, fd: int, call: Callable[[], None], *, events: int = select.EPOLLIN) -> None:
        """Call whenever `fd` is ready; again with other `events` changes them."""
        if fd in self._watched:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._watched[fd] = call

    def unwatch(self, fd: int) -> None:
        """Stop watching, before `fd` is closed; harmless if it isn't watched."""
        if self._watched.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> LoopTimer:
        """Call once after so many seconds."""
        timer = LoopTimer(time.monotonic() + max(delay_s, 0.0), call)
        heapq.heappush(self._timers, timer)
        return timer

    # For any thread

    def call_threadsafe(self, call: Callable[[], None]) -> None:
        """Call soon, in the loop's thread."""
        with self._mutex:
            self._soon.append(call)
            if self._woken or self._closed or self._thread == threading.get_ident():
                return
            self._woken = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._wake_write, b"\0")

    def stop(self) -> None:
        """Let `run` return after its turn; any thread."""
        if not self._stopped:
            self._stopped = True
            self.call_threadsafe(lambda: None)

    # Running

    def on_signal(self, number: signal.Signals, call: Callable[[], None]) -> None:
        """Call in the loop when the signal comes; for the main thread only."""
        self._signals[number] = call
        # First where it goes, then that it goes there: one that comes in between is not lost.
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._handled_before[number] = signal.signal(number, lambda *_: None)
        signal.siginterrupt(number, False)

    def run(self) -> None:
        """Turn until `stop` is called, or the store has failed."""
        self._thread = threading.get_ident()
        try:
            while not self._stopped and self.failure is None:
                self.turn()
        finally:
            self._thread = None

    def turn(self, timeout_s: float | None = None) -> None:
        """Wait for something to happen, and deal with all of it."""
        self._long_at_s = None
        self._hear(self._timeout_s(timeout_s))
        self._run_timers()
        self.settle(LOOKS_BEFORE_SYNC)

    def _hear(self, timeout_s: float | None) -> bool:
        """Wait for something to be ready, deal with it, and say whether there was anything."""
        ready = self._poll.poll(timeout_s, MAX_EVENTS_A_TURN)
        watched = self._watched
        # An earlier handler of this turn may have closed one, and another have its number now:
        # such a one is called for nothing, and must bear it.
        for fd, _ in ready:
            call = watched.get(fd)
            if call is not None:
                call()
        return bool(ready)

    def settle(self, looks: int = 0) -> None:
        """Sync and continue until nothing is begun any more.

        Before the first sync, look up to so many times whether something else has come.
        """
        while True:
            while self._soon:
                self._soon.popleft()()
            # Who waits for an answer has it by now, and goes on meanwhile.
            self.store.tell()
            for call in tuple(self.after_turn):
                call()
            if not self._begun:
                if not self._soon:
                    return
                continue
            if looks and self._hear(0):
                looks -= 1
                continue
            looks = 0
            begun, self._begun = self._begun, deque()
            self.store.flush(tell=False)
            for ticket, then in begun:
                then(self._result(ticket))

    def _result(self, ticket: Ticket) -> Result:
        try:
            committed = ticket.wait()
        except Answered as answered:
            return Result(answered.answer)
        except JQueueError as error:
            # An append that failed leaves the queue as it was; an unknown outcome ends it.
            if isinstance(error, OutcomeUnknown):
                self.failure = error
            return Result(error=error)
        return Result(answer_of(committed), committed.lsn)

    def _timeout_s(self, limit_s: float | None) -> float | None:
        if self._soon or self._begun:
            return 0
        while self._timers and self._timers[0].call is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return limit_s
        left_s = min(max(self._timers[0].at_s - time.monotonic(), 0.0), MAX_POLL_S)
        return left_s if limit_s is None else min(left_s, limit_s)

    def _run_timers(self) -> None:
        now_s = time.monotonic()
        while self._timers and self._timers[0].at_s <= now_s:
            call = heapq.heappop(self._timers).call
            if call is not None:
                call()

    def _drain_wakes(self) -> None:
        wakes = b""
        with contextlib.suppress(BlockingIOError):
            wakes = os.read(self._wake_read, 4096)
        with self._mutex:
            # Not before the read: that would take the next wake, too, and no later one be written.
            self._woken = False
        for number in wakes:
            call = self._signals.get(number)
            if call is not None:
                call()

    def close(self) -> None:
        """Let go of the descriptors; signals go where they went before."""
        if self._signals:
            signal.set_wakeup_fd(-1)
            for number, handler in self._handled_before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        with self._mutex:
            self._closed = True
            os.close(self._wake_write)
        self._poll.close()
        os.close(self._wake_read)


class _Failed:
    """The ticket of a transaction that could not even be appended."""

    def __init__(self, error: JQueueError) -> None:
        self._error = error

    def wait(self) -> Any:
        """Raise what it met."""
        raise self._error
