"""The few commands that change a live directory: through its owner, or under the queue's lock.

A running daemon is asked over its socket (DESIGN's wire: JSON ended by one byte 0x03); without one
the lock is taken and the change made here, by the same rule.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from jqueue.errors import JQueueError, QueueFailed
from jqueue.job import jsonio
from jqueue.job.change import Pruned
from jqueue.job.pruning import prunable
from jqueue.job.state import Layer
from jqueue.store.directory import DirectoryStore
from jqueue.store.protocol import Transaction, new_transaction_id

END: Final = b"\x03"
MAX_ANSWER_BYTES: Final = 64 << 20
SILENCE_S: Final = 600.0
"""Packing 10,000 large jobs takes a while on a slow disk; silence for longer is a failure."""

Kept = list[tuple[int, str]]


class Writer(Protocol):
    """What changes a queue."""

    def prune(self, jobs: list[int]) -> tuple[int, Kept]:
        """Remove finished jobs for good, in one transaction: how many, and what stays and why."""

    def pack(self, number: int) -> tuple[int, list[str]]:
        """Pack an archive directory: how many jobs it holds, and what was left as it is."""

    def unpack(self, number: int) -> tuple[int, list[str]]:
        """Unpack an archive directory, as `pack`."""


@contextlib.contextmanager
def writer(path: Path) -> Iterator[Writer]:
    """Give a writer for the queue at `path`.

    Raises QueueLocked if another process owns the queue without serving its socket, QueueFailed if
    there is no queue.
    """
    stream = _connect(path)
    if stream is not None:
        with stream:
            yield _ThroughOwner(stream, path)
        return
    store = DirectoryStore.open(path, create=False)
    try:
        yield _Alone(store)
    finally:
        store.close()


def _connect(path: Path) -> socket.socket | None:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Through the directory's descriptor: a socket's own path may only have 107 bytes.
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            stream.connect(f"/proc/self/fd/{directory}/socket")
        finally:
            os.close(directory)
    except (FileNotFoundError, ConnectionRefusedError):
        stream.close()
        return None
    except BaseException:
        stream.close()
        raise
    stream.settimeout(SILENCE_S)
    return stream


class _ThroughOwner:
    def __init__(self, stream: socket.socket, path: Path) -> None:
        self._stream = stream
        self._path = path

    def prune(self, jobs: list[int]) -> tuple[int, Kept]:
        answer = self._ask("prune", ids=jobs)
        return answer["pruned"], [(job, why) for job, why in answer["kept"]]

    def pack(self, number: int) -> tuple[int, list[str]]:
        count, left = self._ask("pack", number=number)
        return count, left

    def unpack(self, number: int) -> tuple[int, list[str]]:
        count, left = self._ask("unpack", number=number)
        return count, left

    def _ask(self, method: str, **args: Any) -> Any:
        self._stream.sendall(jsonio.dumps({"method": method, "args": args}) + END)
        data = b""
        while not data.endswith(END):
            chunk = self._stream.recv(1 << 16)
            if not chunk or len(data) > MAX_ANSWER_BYTES:
                raise QueueFailed(
                    f"{self._path}: the queue's owner broke off; whether {method} happened is not"
                    " known, look before you repeat it",
                    path=str(self._path),
                )
            data += chunk
        answer = jsonio.loads(data[: -len(END)])
        if answer["success"]:
            return answer["result"]
        result = answer["result"]
        raise JQueueError(str(result[1][0]) if isinstance(result, list) else str(result))


class _Alone:
    def __init__(self, store: DirectoryStore) -> None:
        self._store = store

    def prune(self, jobs: list[int]) -> tuple[int, Kept]:
        kept: Kept = []

        def decide(layer: Layer) -> Transaction:
            nonlocal kept
            gone, kept = prunable(layer, jobs)
            return Transaction(new_transaction_id(), tuple(map(Pruned, gone)))

        committed = self._store.transact(decide)
        return len(committed.transaction.changes), kept

    def pack(self, number: int) -> tuple[int, list[str]]:
        return self._store.pack(number)

    def unpack(self, number: int) -> tuple[int, list[str]]:
        return self._store.unpack(number)
