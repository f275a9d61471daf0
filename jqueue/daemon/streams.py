"""Long answers in pieces: the next piece is made when the peer has taken the one before.

So a listing of any length costs the owner one piece of memory, no thread waits for a slow peer, and
the moment that it shows is let go when its peer is gone.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import Any, Final

from jqueue.daemon import luxi
from jqueue.daemon.connection import Connection
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.slot import Slot
from jqueue.errors import JQueueError, QueueFailed
from jqueue.job.snapshot import Job

_log = logging.getLogger(__name__)

PIECE_JOBS: Final = 500
PIECE_BYTES: Final = 1 << 20


class Stream:
    """An answer that comes as pieces of bytes; it is sent when all answers before it were."""

    def __init__(
        self,
        reactor: Reactor,
        readers: Executor,
        connection: Connection,
        slot: Slot,
        pieces: Iterator[bytes],
        failed: Callable[[JQueueError], bytes],
    ) -> None:
        """Prepare; `pieces` is run on a reader's thread.

        `failed` makes the answer that says why there is no first piece; later ones can only be
        missing, and the connection ends.
        """
        self._reactor = reactor
        self._readers = readers
        self._connection = connection
        self._slot = slot
        self._pieces = pieces
        self._failed = failed
        self._reading = False
        self._begun = False

    def start(self) -> None:
        """Send the first piece as soon as it is this answer's turn and a reader has it."""
        self._slot.on_drop = self._dropped
        self._slot.when_first(self._next)

    def _next(self, has_room: bool) -> bool:
        if has_room:
            self._reading = True
            self._readers.submit(self._read)
        return has_room

    def _read(self) -> None:
        """On a reader's thread: make one piece."""
        try:
            piece = None if self._slot.dropped else next(self._pieces, None)
        except JQueueError as error:
            caught: JQueueError = error
            self._reactor.call_threadsafe(lambda: self._fail(caught))
        except Exception as error:  # noqa: BLE001 - a boundary: see below
            # Whoever asked waits for an answer, whatever went wrong on this thread.
            _log.exception("a listing failed")
            failed = QueueFailed(f"the owner met an error of its own: {error!r:.200}")
            self._reactor.call_threadsafe(lambda: self._fail(failed))
        else:
            self._reactor.call_threadsafe(lambda: self._send(piece))

    def _send(self, piece: bytes | None) -> None:
        self._reading = False
        if self._slot.dropped or piece is None:
            self._slot.answer(b"")
            self._close()
        else:
            self._begun = True
            self._connection.send_bytes(piece)
            self._slot.when_first(self._next)

    def _fail(self, error: JQueueError) -> None:
        self._reading = False
        self._slot.answer(b"" if self._begun else self._failed(error))
        if self._begun:
            self._connection.close()
        self._close()

    def _dropped(self) -> None:
        if not self._reading:
            self._close()

    def _close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            with contextlib.suppress(ValueError):
                close()


def job_pieces(jobs: Iterator[Job]) -> Iterator[bytes]:
    """Yield our own listing: answers `{"success", "result": [job, …], "more": bool}`."""
    with contextlib.closing(jobs):  # type: ignore[type-var]  # it holds the moment until closed
        more = True
        while more:
            found: list[dict[str, Any]] = []
            size_bytes = 0
            more = False
            for job in islice(jobs, PIECE_JOBS):
                found.append(luxi.job_to_wire(job))
                size_bytes += sum(len(str(op.get("input"))) for op in found[-1]["document"]["ops"])
                more = size_bytes > PIECE_BYTES or len(found) == PIECE_JOBS
                if more:
                    break
            yield luxi.frame({**luxi.success(found), "more": more})
