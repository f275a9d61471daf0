"""A worker's line to the queue's owner: it outlives owners, and loses and doubles nothing.

What needs an answer is kept until the answer comes, and is sent again on each new connection, after
a hello that says what is being executed.  Whoever has something to say sends.  The thread that
executes reads by itself while it waits for its next start, so that no other thread has to wake it;
while an opcode runs for long, or waits for an answer, a thread of the line's own reads.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, NoReturn

from jqueue import errors
from jqueue.errors import JQueueError, TooLarge
from jqueue.execution.wire import (
    HELLO,
    MAX_FRAME_BYTES,
    READ_BYTES,
    WORKER_VERSION,
    Frame,
    Splitter,
    frame,
)
from jqueue.job import jsonio
from jqueue.job.failure import encode_error
from jqueue.store.livelock import Livelock
from jqueue.store.processes import Identity

GATHER_S: Final = 0.05
"""Log entries wait so long for others, so that a talkative unit costs few transactions."""
MAX_BATCH_ENTRIES: Final = 500
MAX_BATCH_BYTES: Final = 8 << 20
"""More entries than that are several messages; a single one may be as large (`context`)."""
MAX_UNLOGGED_ENTRIES: Final = 100_000
"""A unit that says more than its owner can keep has to wait."""
UNLOGGED_RETRY_S: Final = 1.0
TAKE_OVER_S: Final = 0.01
"""An opcode that has run for so long, or up to twice as long, runs for long."""
RECONNECT_FIRST_S: Final = 0.01
RECONNECT_MAX_S: Final = 0.5
"""While there is no owner its socket is tried when it appears, and besides less and less often."""


class Ended(BaseException):
    """The owner sent the worker away, or none came in time: what it does counts no more."""


class Reader(Enum):
    """Who reads what the owner sends."""

    EXECUTOR = auto()
    """The thread that waits for its next start."""
    WATCH = auto()
    """The line's own thread."""


class WorkerLine:
    """The connection of one worker.

    `dial` returns a connected socket, or raises OSError; `wait_for_owner` returns when one may have
    come, or after so many seconds.
    """

    def __init__(
        self,
        dial: Callable[[], socket.socket],
        identity: Identity,
        *,
        orphan_timeout_s: float,
        thread: bool = False,
        ended: Callable[[], None] = lambda: None,
        wait_for_owner: Callable[[float], object] = time.sleep,
    ) -> None:
        self._dial = dial
        self._identity = identity
        self._orphan_timeout_s = orphan_timeout_s
        self._thread = thread
        self._ended = ended
        self._wait_for_owner = wait_for_owner
        self._inbox: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        self._reader: Reader | None = None
        """None from a start on, until somebody has to read."""
        self._splitter = Splitter()
        self._frames: deque[Frame] = deque()
        """What was received and is not dealt with: the next reader begins with it."""
        self._starts = 0
        """How many starts were read."""
        self._asleep = False
        """Whether the line's thread waits for a start, and not only for some time."""
        self._watcher = threading.Thread(target=self._watch, name="line", daemon=True)
        self._wanted = False
        """Whether somebody on another thread waits for what only reading brings."""
        self._mutex = threading.RLock()
        self._settled = threading.Condition(self._mutex)
        self._socket: socket.socket | None = None
        self._livelock: Livelock | None = None
        self._following: Livelock | None = None
        self._execution: tuple[int, int, int] | None = None
        self._unlogged: deque[tuple[int, list[Any]]] = deque()
        self._unsent = 0
        self._unkept = False
        """Whether a batch was not kept: it is sent again before others are sent."""
        self._logged = 0
        self._last_log_s = 0.0
        self._calls: dict[str, tuple[list[Any], queue.SimpleQueue[list[Any] | None]]] = {}
        self._finish: list[Any] | None = None
        self._closed: str | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.on_cancel: Callable[[], None] = lambda: None
        self.release: Callable[[Livelock], None] = lambda _livelock: None
        """Called with each livelock whose execution is over."""

    def start(self, livelock: Livelock) -> None:
        """Connect, idle with this livelock."""
        self._livelock = livelock
        self._reconnect()
        self._watcher.start()

    # For the thread that executes

    def next(self) -> list[Any]:
        """Return the next start, once the finish before it is kept.  Raises Ended."""
        with self._mutex:
            # Its start may be here by now, read by the line's thread.
            if self._reader is None and self._closed is None and self._inbox.empty():
                self._reader = Reader.EXECUTOR
            reads = self._reader is Reader.EXECUTOR
        if reads:
            self._read(Reader.EXECUTOR)
        message = self._inbox.get()
        if message is None:
            self._raise_ended()
        return message

    def finish(
        self,
        following: Livelock,
        ok: bool,
        result: Any,
        children: list[Any] | None = None,
        on_refusal: str = "report",
    ) -> None:
        """Hand in the result; once it is kept the worker is idle, with the livelock `following`."""
        with self._mutex:
            assert self._execution is not None
            token = self._execution[2]
            if self._unkept:
                self._send_log(again=True)
            # What is unsent goes along: one sync for all.
            entries = [entry for _, entry in self._unlogged][len(self._unlogged) - self._unsent :]
            held = [following.name, following.inode]
            message = ["finish", token, entries, ok, result, children, on_refusal, False, held]
            self._following = following
            self._send_data(self._fitting(message))
            self._unsent = 0
            # Sent again, it follows all entries that have no answer.
            message[2], message[7] = [], True
            self._finish = message

    def _fitting(self, message: list[Any]) -> bytes:
        """Return the finish as a frame that its owner takes, changed if need be."""
        data = frame(message)
        if len(data) > MAX_FRAME_BYTES and message[2]:
            self._send_log()
            message[2] = []
            data = frame(message)
        if len(data) > MAX_FRAME_BYTES:
            text = f"its result can't be kept: {len(data)} bytes, {MAX_FRAME_BYTES} fit"
            message[3:6] = False, encode_error(text), None
            data = frame(message)
        return data

    def decline(self, following: Livelock, why: str) -> None:
        """Give back the opcode, of which nothing was begun; otherwise as `finish`."""
        with self._mutex:
            assert self._execution is not None
            self._following = following
            held = [following.name, following.inode]
            self._finish = ["decline", self._execution[2], why, held]
            self._send(self._finish)

    # For the unit, on any thread

    def feedback(self, entries: list[list[Any]]) -> None:
        """Pass log entries on, soon."""
        with self._settled:
            while len(self._unlogged) >= MAX_UNLOGGED_ENTRIES and self._closed is None:
                self._settled.wait()
            if self._closed is not None:
                return
            for entry in entries:
                self._logged += 1
                self._unlogged.append((self._logged, entry))
            first = self._unsent == 0
            self._unsent += len(entries)
            due = time.monotonic() - self._last_log_s >= GATHER_S
            if due or self._unsent >= MAX_BATCH_ENTRIES:
                self._send_log()
            elif first:
                self._want_reader()

    def progress(self, value: dict[str, Any]) -> None:
        """Pass it on if there is an owner now; the next one says more."""
        with self._mutex:
            if self._execution is not None:
                self._send(["progress", self._execution[2], value])

    def submit(self, call: str, jobs: list[Any]) -> list[list[Any]]:
        """Submit, and return the answers once they are durable."""
        answers: queue.SimpleQueue[list[Any] | None] = queue.SimpleQueue()
        with self._mutex:
            if self._closed is not None or self._execution is None:
                self._raise_ended()
            message = ["submit", self._execution[2], call, jobs]
            data = frame(message)
            if len(data) > MAX_FRAME_BYTES:
                text = f"a submission of {len(data)} bytes is too large; make several of it"
                raise TooLarge(text, size_bytes=len(data), limit_bytes=MAX_FRAME_BYTES)
            self._calls[call] = message, answers
            self._send_data(data)
            self._want_reader()
        answer = answers.get()
        if answer is None:
            self._raise_ended()
        if answer[0] == "refused":
            kind = getattr(errors, answer[2], JQueueError)
            raise kind(answer[3])
        submitted: list[list[Any]] = answer[2]
        return submitted

    def _raise_ended(self) -> NoReturn:
        raise Ended(self._closed or "the line is closed")

    # Sending; the mutex is held

    def _send(self, message: list[Any]) -> None:
        if self._socket is not None:
            self._send_data(frame(message))

    def _send_data(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendall(data)
        except OSError:
            # Whoever reads next sees the end of what came before, then connects anew.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def _send_log(self, *, again: bool = False) -> None:
        if again:
            self._unsent, self._unkept = len(self._unlogged), False
        if not self._unsent or self._execution is None or self._unkept:
            return
        fresh = list(self._unlogged)[len(self._unlogged) - self._unsent :]
        self._unsent = 0
        self._last_log_s = time.monotonic()
        for at in range(0, len(fresh), MAX_BATCH_ENTRIES):
            self._send_batch(self._execution[2], fresh[at : at + MAX_BATCH_ENTRIES], again)

    def _send_batch(self, token: int, batch: list[tuple[int, list[Any]]], again: bool) -> None:
        data = frame(["log", token, batch[-1][0], [entry for _, entry in batch], again])
        if len(data) <= MAX_BATCH_BYTES or len(batch) == 1:
            self._send_data(data)
            return
        half = len(batch) // 2
        self._send_batch(token, batch[:half], again)
        self._send_batch(token, batch[half:], again)

    def _want_reader(self) -> None:
        """What was just begun goes on only if somebody reads, or looks at the time."""
        self._wanted = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    # Who reads

    def _watch(self) -> None:
        """Read whenever what is executed runs for long, or needs it, until its next start."""
        try:
            while self._closed is None:
                self._rest()
                with self._mutex:
                    ended = self._closed is not None
                    if ended or self._reader is not None or self._execution is None:
                        continue
                    self._reader = Reader.WATCH
                self._read(Reader.WATCH)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody would hear a cancel
            self._close(f"the line failed: {type(error).__name__}: {error}")

    def _rest(self) -> None:
        """Return when somebody may have to read, without being woken by each short opcode."""
        starts = -1
        while True:
            with self._mutex:
                if self._wanted or self._closed is not None:
                    self._wanted = False
                    return
                executes = self._execution is not None and self._reader is None
                if executes and starts == self._starts:
                    return
                # Where nothing was started lately the next start tells it.
                self._asleep = not executes and starts == self._starts
                starts = self._starts
                wait_s = None if self._asleep else TAKE_OVER_S
            if _readable(wait_s, self._wake_read):
                os.read(self._wake_read, 4096)

    def _read(self, me: Reader) -> None:
        """Read, from connection to connection, until the next start has come or the line ends."""
        try:
            while self._reader is me:
                if not (self._frames or self._receive()):
                    self._reconnect()
                with self._settled:
                    while self._frames and self._reader is me:
                        self._deal_with(jsonio.loads(self._frames.popleft()))
        except Ended as ended:
            self._close(str(ended))
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker can't go on
            self._close(f"the line failed: {type(error).__name__}: {error}")

    # Reading

    def _receive(self) -> bool:
        """Wait for what comes next on this connection; false if it is at its end."""
        assert self._socket is not None
        if self._execution is not None and self._finish is None:
            self._gather()
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError:
            return False
        self._frames.extend(self._splitter.feed(data) if data else ())
        return bool(data)

    def _gather(self) -> None:
        """Return when there is something to read; send what was gathered meanwhile."""
        assert self._socket is not None
        while True:
            left_s = None
            with self._mutex:
                if self._unsent:
                    left_s = self._last_log_s + GATHER_S - time.monotonic()
                    if left_s <= 0:
                        self._send_log()
                        left_s = None
            stream = self._socket.fileno()
            ready = _readable(left_s, stream, self._wake_read)
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            if stream in ready:
                return

    def _deal_with(self, message: list[Any]) -> None:
        handler = getattr(self, f"_on_{message[0]}", None)
        # What a later owner may say beside these is none of this version's business.
        if handler is not None:
            handler(message)

    def _on_start(self, message: list[Any]) -> None:
        if self._execution is not None:
            raise Ended("it was told to start an opcode while it executes another")
        self._execution = message[1], message[2], message[3]
        self._starts += 1
        self._reader = None
        if self._asleep:
            self._asleep = False
            self._wake()
        self._inbox.put(message)

    def _on_ok(self, message: list[Any]) -> None:
        if self._execution is None or self._execution[2] != message[1]:
            return
        self._finish = self._execution = None
        self._unlogged.clear()
        self._unsent, self._unkept = 0, False
        held, self._livelock, self._following = self._livelock, self._following, None
        if held is not None:
            self.release(held)

    def _on_again(self, _message: list[Any]) -> None:
        if self._finish is not None:
            self._send_log(again=True)
            self._send(self._finish)

    def _on_logged(self, message: list[Any]) -> None:
        # Those before a batch that was not kept are sent again with it: none is missed out.
        while not self._unkept and self._unlogged and self._unlogged[0][0] <= message[1]:
            self._unlogged.popleft()
        self._settled.notify_all()

    def _on_unlogged(self, _message: list[Any]) -> None:
        if self._unkept:
            return
        self._unkept = True
        timer = threading.Timer(UNLOGGED_RETRY_S, self._log_again)
        timer.daemon = True
        timer.start()

    def _on_submitted(self, message: list[Any]) -> None:
        call = self._calls.pop(message[1], None)
        # What was sent again on another connection may be answered twice.
        if call is not None:
            call[1].put(message)

    _on_refused = _on_submitted

    def _on_cancel(self, _message: list[Any]) -> None:
        self.on_cancel()

    def _on_end(self, message: list[Any]) -> None:
        raise Ended(message[1])

    def _log_again(self) -> None:
        with self._mutex:
            if self._unkept:
                self._send_log(again=True)

    # Connecting

    def _reconnect(self) -> None:
        """Connect and say hello; raises Ended when no owner came in time."""
        delay_s = RECONNECT_FIRST_S
        with self._settled:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        end_s = time.monotonic() + self._orphan_timeout_s
        while True:
            if self._execution is not None and self._finish is None:
                end_s = time.monotonic() + self._orphan_timeout_s
            try:
                connection = self._dial()
            except OSError as error:
                if time.monotonic() >= end_s:
                    raise Ended("the queue has had no owner for too long") from error
                self._wait_for_owner(delay_s)
                delay_s = min(delay_s * 2, RECONNECT_MAX_S)
                continue
            # A program may have given new sockets a limit: here nothing may come for days.
            connection.settimeout(None)
            with self._mutex:
                self._socket = connection
                self._splitter = Splitter()
                self._say_all()
            return

    def _say_all(self) -> None:
        """The hello, and everything that still lacks its answer."""
        assert self._livelock is not None
        job, at, token = self._execution or (0, 0, 0)
        hello = {
            "version": WORKER_VERSION,
            **self._identity.to_dict(),
            "livelock": self._livelock.name,
            "inode": self._livelock.inode,
            "job": job,
            "op": at,
            "token": token,
            "thread": self._thread,
        }
        self._send_first(hello)
        self._send_log(again=True)
        for message, _ in self._calls.values():
            self._send(message)
        if self._finish is not None:
            self._send(self._finish)

    def _send_first(self, hello: dict[str, Any]) -> None:
        assert self._socket is not None
        with contextlib.suppress(OSError):
            self._socket.sendall(frame({"method": HELLO, "args": [hello]}))

    def _close(self, why: str) -> None:
        with self._settled:
            self._closed = why
            self._reader = None
            self._settled.notify_all()
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            calls, self._calls = self._calls, {}
        for _, answers in calls.values():
            answers.put(None)
        self._inbox.put(None)
        self._wake()
        self._ended()


def _readable(timeout_s: float | None, *fds: int) -> list[int]:
    """Wait until one of the descriptors, whatever their numbers, has something to read."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]
