"""A client's connections: one request each at a time, kept for the next, never shared."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.errors import QueueFailed
from jqueue.execution.wire import READ_BYTES, SOCKET, Frame, Splitter, frame
from jqueue.job import jsonio

MAX_KEPT: Final = 8


class NoOwner(Exception):
    """Nobody listens: nothing was sent."""


class Lost(Exception):
    """The connection broke after the request was (partly) sent: what became of it is not known."""


class _Peer:
    """One connection and what has arrived on it."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.splitter = Splitter()
        self.frames: list[Frame] = []

    def receive(self) -> Any:
        """Return the next answer.  Raises Lost."""
        while not self.frames:
            try:
                data = self.stream.recv(READ_BYTES)
            except OSError as error:
                raise Lost(str(error)) from error
            if not data:
                raise Lost("the owner closed the connection")
            self.frames.extend(self.splitter.feed(data))
        return jsonio.loads(self.frames.pop(0))


class Wire:
    """Connections to the owner's socket.  Thread-safe."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._kept: list[_Peer] = []
        self._mutex = threading.Lock()
        self._closed = False

    def call(self, method: str, args: dict[str, Any]) -> Any:
        """Ask, and return the result.  Raises NoOwner, Lost, and what the owner answers."""
        request = frame({"method": method, "args": args})
        while True:
            peer, fresh = self._take()
            try:
                sent = self._send(peer, request, fresh=fresh)
                if not sent:
                    continue
                answer = peer.receive()
            except BaseException:
                peer.stream.close()
                raise
            self._keep(peer)
            return luxi.unwrap(answer)

    def stream(self, method: str, args: dict[str, Any]) -> Iterator[Any]:
        """Ask on a connection of its own, and yield the parts of a long answer."""
        peer = _Peer(self._connect())
        try:
            self._send(peer, frame({"method": method, "args": args}), fresh=True)
            more = True
            while more:
                answer = peer.receive()
                yield from luxi.unwrap(answer)
                more = answer.get("more", False)
        finally:
            peer.stream.close()

    def _send(self, peer: _Peer, request: bytes, *, fresh: bool) -> bool:
        """Send; false if a kept connection turns out to be dead before anything was sent."""
        if not fresh and _is_dead(peer.stream):
            peer.stream.close()
            return False
        try:
            peer.stream.sendall(request)
        except OSError as error:
            raise Lost(str(error)) from error
        return True

    def _take(self) -> tuple[_Peer, bool]:
        with self._mutex:
            if self._kept:
                return self._kept.pop(), False
        return _Peer(self._connect()), True

    def _keep(self, peer: _Peer) -> None:
        with self._mutex:
            if len(self._kept) < MAX_KEPT and not self._closed:
                self._kept.append(peer)
                return
        peer.stream.close()

    def _connect(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Through the directory's descriptor: a socket's own path may only have 107 bytes.
            directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                stream.connect(f"/proc/self/fd/{directory}/{SOCKET}")
            finally:
                os.close(directory)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            stream.close()
            raise NoOwner(str(error)) from error
        except OSError as error:
            stream.close()
            raise QueueFailed(
                f"{self._path}/{SOCKET}: can't be reached: {error.strerror}", path=self._path
            ) from error
        return stream

    def close(self) -> None:
        """Close what is kept, and keep no more."""
        with self._mutex:
            self._closed = True
            kept, self._kept = self._kept, []
        for peer in kept:
            with contextlib.suppress(OSError):
                peer.stream.close()


def _is_dead(stream: socket.socket) -> bool:
    """Whether the peer has closed a connection on which nothing is outstanding."""
    try:
        return stream.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
