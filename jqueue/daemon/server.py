"""The owner's socket: who may connect, and what becomes of each request.

The socket is `queue/socket`, mode 0600, bound through the directory's descriptor so that the path
may be of any length.  Peers are the owner's own user, or root.  A stale socket is removed only by
who holds the queue's lock.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import select
import socket
import stat
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.daemon.answer_room import AnswerRoom
from jqueue.daemon.connection import Connection, Parsed, Peer, Port
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.slot import Slot
from jqueue.daemon.verbs import Verbs
from jqueue.errors import InvalidJob, QueueFailed, TooLarge
from jqueue.execution.port import greet, read_hello
from jqueue.execution.runner import Runner
from jqueue.execution.wire import SOCKET, Frame

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 10_000
RESERVED_DESCRIPTORS: Final = 124
"""For files, workers and some listings: 900 connections under the usual limit of 1024."""
IDLE_S: Final = 10.0
"""When there is no more room, a connection that asked nothing for so long makes room."""
RETRY_S: Final = 1.0
MAX_HELD_BYTES: Final = 256 << 20
"""Of messages that are not complete or not parsed, on all connections together."""
FREE_BYTES: Final = 1 << 20
"""A connection may hold so much of one whatever the others do."""
BACKLOG: Final = 1024
"""Of connections that are not accepted yet; a peer that will not block is refused beyond it."""
ACCEPTED_A_TURN: Final = 128
PARSERS: Final = 2
"""Threads for long requests: a submission among them waits for no reading, however many there are.
Each connection has one parsed at a time."""
_CREDENTIALS: Final = struct.Struct("3i")


class Server:
    """Accepts connections and hands their requests to the verbs.  In the loop's thread."""

    def __init__(self, reactor: Reactor, runner: Runner, verbs: Verbs, queue_fd: int) -> None:
        self.verbs = verbs
        self.room = AnswerRoom(reactor)
        self._reactor = reactor
        self._runner = runner
        self._queue_fd = queue_fd
        self._connections: set[Connection] = set()
        self._held_bytes: dict[Connection, int] = {}
        self._listener = listen(queue_fd)
        self._inode = os.stat(SOCKET, dir_fd=queue_fd, follow_symlinks=False).st_ino
        self._accepting = True
        self._unheard: set[Connection] | None = None
        self._parsers = ThreadPoolExecutor(PARSERS, thread_name_prefix="parser")
        reactor.watch(self._listener.fileno(), self._accept)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_A_TURN):
            full = len(self._connections) >= most_connections()
            if full and not self._somebody_waits():
                return
            if full and not self._evict():
                _log.warning("%d connections: others have to wait", len(self._connections))
                self._reactor.unwatch(self._listener.fileno())
                self._accepting = False
                self._reactor.call_later(RETRY_S, self._resume)
                return
            try:
                stream, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("a connection can't be accepted: %s", error)
                return
            self.admit(stream)

    def _somebody_waits(self) -> bool:
        waiting = select.poll()
        waiting.register(self._listener.fileno(), select.POLLIN)
        return bool(waiting.poll(0))

    def _evict(self) -> bool:
        """Close the connection that is idle longest; false if none is idle for long."""
        idle = [
            (since_s, connection)
            for connection in self._connections
            if (since_s := connection.idle_since_s) is not None
        ]
        if not idle:
            return False
        since_s, connection = min(idle, key=lambda one: one[0])
        if time.monotonic() - since_s < IDLE_S:
            return False
        connection.close()
        return True

    def _resume(self) -> None:
        if not self._accepting and self._listener.fileno() >= 0:
            self._accepting = True
            self._reactor.watch(self._listener.fileno(), self._accept)

    def parse_apart(self, text: Frame, then: Parsed) -> None:
        """Parse a long request on another thread, and check the jobs in it.

        `then` is called in the loop's.
        """

        def parse() -> None:
            try:
                parsed = luxi.parse_request(text)
                request: luxi.Request | InvalidJob | bytes = self.verbs.prepared(parsed)
            except InvalidJob as error:
                request = error
            except TooLarge as error:
                request = luxi.refusal(text, error)
            self._reactor.call_threadsafe(lambda: then(request))

        self._parsers.submit(parse)

    def may_hold(self, connection: Connection, size_bytes: int) -> bool:
        """Whether there is room for so much of messages that aren't understood yet."""
        if size_bytes <= FREE_BYTES:
            self._held_bytes.pop(connection, None)
            return True
        self._held_bytes[connection] = size_bytes
        return sum(self._held_bytes.values()) <= MAX_HELD_BYTES

    def admit(self, stream: socket.socket) -> None:
        """Serve a connected peer, if it may be one."""
        peer = Peer(*peer_of(stream))
        if peer.uid not in (os.geteuid(), 0):
            named = {"pid": peer.pid}
            _log.warning("process %d of user %d may not connect", peer.pid, peer.uid, extra=named)
            stream.close()
            return
        self._connections.add(Connection(self._reactor, self, stream, peer))

    def handle(self, connection: Connection, request: luxi.Request, slot: Slot) -> None:
        """Answer a request now or later; one that nobody understands ends its connection."""
        self.verbs.handle(connection, request, slot)

    def greet(self, connection: Connection, hello: Any) -> Port | None:
        """Take a worker's hello."""
        if self._unheard is not None:
            read_hello(hello, connection.peer.pid)
            self._unheard.add(connection)
            return Unheard()
        return greet(self._runner, connection, hello, connection.peer.pid)

    @property
    def unheard(self) -> frozenset[Connection]:
        """The workers that wait to be heard."""
        return frozenset(self._unheard or ())

    def hear(self, heard: bool) -> None:
        """Hear workers from now on, or not; those not heard connect anew, and say it all again."""
        unheard, self._unheard = self._unheard, None if heard else set()
        for connection in unheard or ():
            connection.close()

    def forget(self, connection: Connection) -> None:
        """The connection is gone; there is room for another."""
        if self._unheard is not None:
            self._unheard.discard(connection)
        self._connections.discard(connection)
        self._held_bytes.pop(connection, None)
        self.verbs.forget(connection)
        self._resume()

    def close(self) -> None:
        """Remove the socket, and close all connections."""
        self._parsers.shutdown(wait=False, cancel_futures=True)
        if self._accepting:
            self._reactor.unwatch(self._listener.fileno())
        with contextlib.suppress(OSError):
            found = os.stat(SOCKET, dir_fd=self._queue_fd, follow_symlinks=False)
            if found.st_ino == self._inode:
                os.unlink(SOCKET, dir_fd=self._queue_fd)
        self._listener.close()
        for connection in list(self._connections):
            connection.close()


class Unheard:
    """A worker's connection to an owner that has not recovered: it may wait, nothing is taken."""

    def receive(self, message: Any) -> None:
        """Drop it: what needs an answer comes again, to an owner that answers."""

    def closed(self) -> None:
        """There is nothing to forget."""


def most_connections() -> int:
    """Return how many connections there may be at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(soft - RESERVED_DESCRIPTORS, 1))


def listen(queue_fd: int) -> socket.socket:
    """Bind the queue's socket and listen.  The caller holds the queue's lock.

    Raises QueueFailed where something that is no socket has its name.
    """
    path = f"/proc/self/fd/{queue_fd}/{SOCKET}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            _remove_stale(queue_fd)
        listener.bind(path)
        # Nobody can connect before it listens: until then its mode doesn't matter.
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(queue_fd: int) -> None:
    found = os.stat(SOCKET, dir_fd=queue_fd, follow_symlinks=False)
    if not stat.S_ISSOCK(found.st_mode):
        raise QueueFailed(f"{SOCKET}: not a socket; move it away, it was left untouched")
    os.unlink(SOCKET, dir_fd=queue_fd)


def peer_of(stream: socket.socket) -> tuple[int, int, int]:
    """Return pid, uid and gid of a peer, as they were when it connected."""
    data = stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(data)
    return pid, uid, gid
