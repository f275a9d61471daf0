"""One connection to the owner's socket: requests in, answers out in their order, nothing unbounded.

A peer that sends too much at once is read no further until its answers are on their way; one that
doesn't read its answers is not waited for; a long request is parsed beside the loop.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from jqueue.daemon import luxi
from jqueue.daemon.answer_room import AnswerRoom
from jqueue.daemon.reactor import LoopTimer, Reactor
from jqueue.daemon.slot import Slot
from jqueue.errors import InvalidJob, TooLarge
from jqueue.execution.claims import Request
from jqueue.execution.wire import HELLO, READ_BYTES, Frame, Splitter
from jqueue.job import jsonio

_log = logging.getLogger(__name__)

MAX_PIPELINED: Final = 1024
"""Unanswered requests of one connection."""
MAX_UNSENT_BYTES: Final = 256 << 10
"""Answers that a peer has not read; above it no more of its requests are, and no answer is made.
Small ones of 900 peers come to as much as the room for large ones."""
PARSED_APART_BYTES: Final = 256 << 10
"""A longer request would hold the loop for more than some milliseconds."""
STALL_S: Final = 60.0
"""A peer that takes no byte of its answers for so long is gone, or as good as."""


class Peer(NamedTuple):
    """Who a connection is to, as it was when it connected."""

    pid: int
    uid: int
    gid: int


class Port(Protocol):
    """What a worker's messages go to after its hello."""

    def receive(self, message: Any) -> None:
        """Deal with one message."""

    def closed(self) -> None:
        """The connection is gone."""


Parsed = Callable[[luxi.Request | InvalidJob | bytes], None]
"""Is given a request, or why it is none, or the answer to one that is not parsed."""


class Handler(Protocol):
    """What serves the requests of all connections."""

    @property
    def room(self) -> AnswerRoom:
        """What bounds the answers that peers have not taken."""

    def handle(self, connection: Connection, request: luxi.Request, slot: Slot) -> None:
        """Answer now or later."""

    def greet(self, connection: Connection, hello: Any) -> Port | None:
        """Take a worker."""

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""

    def may_hold(self, connection: Connection, size_bytes: int) -> bool:
        """Whether there is room for so much of messages that aren't understood yet."""

    def parse_apart(self, text: Frame, then: Parsed) -> None:
        """Parse and check a long request on another thread; `then` is called in the loop's."""


class Connection:
    """One peer; `Channel` for workers.  In the loop's thread."""

    def __init__(
        self, reactor: Reactor, handler: Handler, stream: socket.socket, peer: Peer
    ) -> None:
        self.peer = peer
        self.unsent_bytes = 0
        """In memory; what is sent in part is there as a whole."""
        self.claims: set[Request] = set()
        """What was claimed over it, and is not settled."""
        self._reactor = reactor
        self._handler = handler
        self._room = handler.room
        self._stream: socket.socket | None = stream
        self._fd = stream.fileno()
        self._splitter = Splitter()
        self._frames: deque[Frame] = deque()
        self._parsing_bytes = 0
        """Of the request that is parsed apart: those behind it wait, and no more is read."""
        self._slots: deque[Slot] = deque()
        self._out: deque[memoryview] = deque()
        self._gathered: list[bytes] = []
        self._port: Port | None = None
        self._closing = False
        self._flushing = False
        self._waits_for_turn = False
        """There are more frames than one turn has time for."""
        self._stall: LoopTimer | None = None
        self._heard_s = time.monotonic()
        self._events = select.EPOLLIN
        stream.setblocking(False)
        reactor.watch(self._fd, self._ready)

    # Reading

    def _ready(self) -> None:
        if self._out:
            self._flush()
        if self._events & select.EPOLLIN:
            self._read()
        elif not self._events and self._stream is not None and _is_gone(self._stream):
            self._gone()

    def _gone(self) -> None:
        """The peer has closed while nothing was read of it."""
        if self._closing or self._is_crowded:
            self._lost()
        else:
            # What is here of it is dealt with first; until then the kernel would say it for ever.
            self._reactor.unwatch(self._fd)

    def _read(self) -> bool:
        """Deal with what one read gives; say whether there may be more."""
        if self._stream is None:
            return False
        try:
            data = self._stream.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._ended(self._stream)
            return False
        self._heard_s = time.monotonic()
        try:
            self._frames.extend(self._splitter.feed(data))
            self._work()
        except TooLarge as error:
            self._refuse(str(error))
        self._check_held()
        return True

    def _ended(self, stream: socket.socket) -> None:
        """The peer sends no more; it may still wait for answers, as `nc -N` does."""
        owed = self._slots or self._out
        if owed and self._port is None and not _is_gone(stream):
            self.hang_up()
        else:
            self.close()

    def _work(self) -> None:
        """Deal with the frames at hand, in their order, as far as this turn has time for them."""
        while self._frames and self._may_work:
            text = self._frames.popleft()
            if self._port is None and len(text) > PARSED_APART_BYTES:
                self._parsing_bytes = len(text)
                self._update_events()
                self._handler.parse_apart(text, self._parsed)
            else:
                self._receive(text)
            if self._frames and self._reactor.is_long():
                self._work_later()
        if self._frames:
            self._update_events()

    def _work_later(self) -> None:
        if not self._waits_for_turn:
            self._waits_for_turn = True
            self._reactor.call_later(0, self._work_on)

    def _work_on(self) -> None:
        self._waits_for_turn = False
        self._work()
        self._update_events()

    @property
    def _may_work(self) -> bool:
        return bool(
            not self._parsing_bytes
            and not self._waits_for_turn
            and not self._is_crowded
            and self._stream is not None
        )

    @property
    def _is_crowded(self) -> bool:
        return len(self._slots) >= MAX_PIPELINED or self.unsent_bytes > MAX_UNSENT_BYTES

    def _parsed(self, request: luxi.Request | InvalidJob | bytes) -> None:
        self._parsing_bytes = 0
        if self._stream is None:
            return
        if isinstance(request, InvalidJob):
            self._refuse(str(request))
        elif isinstance(request, bytes):
            self._next_slot().answer(request)
        else:
            self._serve(request)
        self._work()
        self._check_held()
        self._update_events()

    def _check_held(self) -> None:
        if self._stream is None or self._closing:
            return
        size_bytes = self._splitter.pending_bytes + self._parsing_bytes
        if not self._handler.may_hold(self, size_bytes):
            self._refuse("too many large messages at once; send it again later")

    def read_out(self) -> None:
        """Deal with everything that a worker has sent, now."""
        self._work_out()
        while self._read():
            self._work_out()

    def _work_out(self) -> None:
        while self._frames and self._stream is not None:
            self._receive(self._frames.popleft())

    def _receive(self, text: Frame) -> None:
        if self._closing:
            return
        try:
            if self._port is not None:
                self._port.receive(jsonio.loads_strict(text, max_depth=luxi.MAX_DEPTH))
                return
            request = luxi.parse_request(text)
        except InvalidJob as error:
            self._refuse(str(error))
        else:
            self._serve(request)

    def _serve(self, request: luxi.Request) -> None:
        if self._closing:
            return
        if request.method == HELLO and not self._slots:
            try:
                self._greet(request)
            except InvalidJob as error:
                self._refuse(str(error))
            return
        self._handler.handle(self, request, self._next_slot())
        self._update_events()

    def _next_slot(self) -> Slot:
        slot = Slot(self.flush_slots, self._room)
        self._slots.append(slot)
        return slot

    def _greet(self, request: luxi.Request) -> None:
        [hello] = request.args if len(request.args) == 1 else [None]
        self._port = self._handler.greet(self, hello)

    def _refuse(self, text: str) -> None:
        """Answer what can't be understood, and close once that is sent."""
        _log.warning("process %d: %s", self.peer.pid, text, extra={"pid": self.peer.pid})
        self._next_slot().answer(luxi.frame(luxi.parse_error(text)))
        self.hang_up()

    # Writing

    def send(self, message: Any) -> None:
        """Send a message that answers nothing, with others of this turn."""
        if not self._gathered:
            self._reactor.call_soon(self._send_gathered)
        self._gathered.append(luxi.frame(message))

    def _send_gathered(self) -> None:
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self.send_bytes(data)

    def flush_slots(self) -> None:
        """Send the answers whose turn has come."""
        if self._flushing:
            return
        self._flushing = True
        try:
            self._send_answers(self._slots)
        finally:
            self._flushing = False
        if not self._events & select.EPOLLIN:
            self._go_on()

    def _send_answers(self, slots: deque[Slot]) -> None:
        while slots:
            data = slots[0].data
            if data is not None:
                slots.popleft()
                self.send_bytes(data)
            elif self.unsent_bytes > MAX_UNSENT_BYTES or not self._begin(slots[0]):
                return

    def _begin(self, slot: Slot) -> bool:
        if not slot.is_made_in_turn or self._room.is_awaited_by(self):
            return False
        begun = slot.begin(self._room.take(self))
        if not begun:
            self._room.wait(self, self.flush_slots)
        return begun

    def _go_on(self) -> None:
        """Some answers are on their way: there may be room for more requests, or no more to do."""
        if self._closing and not self._out and not self._slots:
            self.close()
            return
        self._update_events()
        if self._frames:
            self._work_later()

    def hang_up(self) -> None:
        """Read no more, and close once all that is to be sent is sent."""
        self._closing = True
        if not self._out and not self._slots:
            self.close()
        else:
            self._update_events()

    def send_bytes(self, data: bytes) -> None:
        """Send frames, or parts of one, that are at hand."""
        if self._stream is None:
            return
        sent = 0
        if not self._out:
            try:
                sent = self._stream.send(data)
            except BlockingIOError:
                pass
            except OSError:
                # What it had sent before is still to be read: its end is found by reading.
                return
            if sent == len(data):
                return
        if self._stall is None:
            self._stall = self._reactor.call_later(STALL_S, self._stalled)
        self._out.append(memoryview(data)[sent:])
        self._hold(len(data))
        self._update_events()

    def _hold(self, size_bytes: int) -> None:
        self.unsent_bytes += size_bytes
        self._room.hold(size_bytes)

    def _stalled(self) -> None:
        named = {"pid": self.peer.pid}
        _log.warning("process %d takes no answer for %g s", self.peer.pid, STALL_S, extra=named)
        self.close()

    def _lost(self) -> None:
        """The peer takes nothing any more: what a worker had sent before is dealt with first."""
        if self._port is not None:
            self.read_out()
        self.close()

    def _moved(self) -> None:
        """The peer has taken something: it has as long again for the rest."""
        if self._stall is not None:
            self._stall.cancel()
        more = bool(self._out)
        self._stall = self._reactor.call_later(STALL_S, self._stalled) if more else None

    def _flush(self) -> None:
        assert self._stream is not None
        while self._out:
            data = self._out[0]
            try:
                sent = self._stream.send(data)
            except BlockingIOError:
                return
            except OSError:
                self._lost()
                return
            if sent < len(data):
                self._out[0] = data[sent:]
                self._moved()
                return
            self._out.popleft()
            self._hold(-memoryview(data.obj).nbytes)
        self._moved()
        self.flush_slots()
        self._go_on()

    def _update_events(self) -> None:
        if self._stream is None:
            return
        busy = self._is_crowded or self._closing or self._parsing_bytes or self._frames
        events = 0 if busy else select.EPOLLIN
        if self._out:
            events |= select.EPOLLOUT
        if events != self._events:
            self._events = events
            self._reactor.watch(self._fd, self._ready, events=events)

    def close(self) -> None:
        """Close at once; whoever waits for an answer here is told."""
        if self._stream is None:
            return
        self._send_gathered()
        self._reactor.unwatch(self._fd)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream = None
        self._out.clear()
        self._room.leave(self)
        self._hold(-self.unsent_bytes)
        self._moved()
        slots, self._slots = self._slots, deque()
        for slot in slots:
            slot.dropped = True
            if slot.on_drop is not None:
                slot.on_drop()
        if self._port is not None:
            self._port.closed()
        self._handler.forget(self)

    @property
    def idle_since_s(self) -> float | None:
        """Since when nothing is expected of it, but that it might ask again; None if not so."""
        busy = (
            self._parsing_bytes
            or self._frames
            or self._slots
            or self._out
            or self._port is not None
            or self.claims
        )
        return None if busy else self._heard_s

    @property
    def is_open(self) -> bool:
        """Whether something can still be sent."""
        return self._stream is not None


def _is_gone(stream: socket.socket) -> bool:
    """Whether the peer reads no more either."""
    look = select.poll()
    look.register(stream.fileno(), 0)
    return bool(look.poll(0))
