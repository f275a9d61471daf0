"""Long answers in pieces: the next piece is read when the peer has taken the one before.

So a listing of any length costs the owner one piece of memory, no thread waits for a slow peer, and
the moment that it shows is let go when its peer is gone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.daemon.connection import Connection, Slot
from jqueue.daemon.reactor import Reactor
from jqueue.errors import JQueueError
from jqueue.job import jsonio
from jqueue.job.snapshot import Job

PIECE_JOBS: Final = 500
PIECE_BYTES: Final = 1 << 20


class Stream:
    """The jobs of one moment, sent as answers `{"success", "result": [job, …], "more": bool}`.

    The last one fills the request's slot; a connection carries one stream at a time.
    """

    def __init__(
        self,
        reactor: Reactor,
        readers: Executor,
        connection: Connection,
        slot: Slot,
        jobs: Iterator[Job],
    ) -> None:
        self._reactor = reactor
        self._readers = readers
        self._connection = connection
        self._slot = slot
        self._jobs = jobs
        self._reading = False

    def start(self) -> None:
        """Send the first piece as soon as a reader has it."""
        self._slot.on_drop = self._dropped
        self._next()

    def _next(self) -> None:
        self._connection.on_sent = None
        self._reading = True
        self._readers.submit(self._read)

    def _read(self) -> None:
        """On a reader's thread: make one piece."""
        found: list[dict[str, Any]] = []
        size_bytes = 0
        more = True
        try:
            for job in islice(self._jobs, PIECE_JOBS):
                found.append({"document": job.to_dict(), "archived": job.archived})
                size_bytes += sum(len(str(op.get("input"))) for op in found[-1]["document"]["ops"])
                if size_bytes > PIECE_BYTES:
                    break
            else:
                more = len(found) == PIECE_JOBS
        except JQueueError as error:
            failed = luxi.failure(error)
            self._reactor.call_threadsafe(lambda: self._end(failed))
            return
        answer = {**luxi.success(found), "more": more}
        text = jsonio.dumps(answer) if more else b""
        self._reactor.call_threadsafe(lambda: self._send(text, answer))

    def _send(self, text: bytes, answer: dict[str, Any]) -> None:
        self._reading = False
        if self._slot.dropped:
            self._close()
        elif not answer["more"]:
            self._end(answer)
        else:
            self._connection.send_bytes(text)
            if self._connection.unsent_bytes:
                self._connection.on_sent = self._next
            else:
                self._next()

    def _end(self, answer: dict[str, Any]) -> None:
        self._connection.on_sent = None
        self._slot.answer(answer)
        self._close()

    def _dropped(self) -> None:
        if not self._reading:
            self._close()

    def _close(self) -> None:
        close = getattr(self._jobs, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):
                close()
