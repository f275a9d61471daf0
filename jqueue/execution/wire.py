"""Frames on the queue's socket, and the messages between the owner and its workers.

A frame is one JSON text and the byte 0x03, as in Ganeti's LUXI; JSON never holds that byte raw.  A
worker's first frame is `{"method": "WorkerHello", "args": [hello]}`; all that follow, both ways,
are arrays whose first member is the kind:

    worker to owner                                        owner to worker
    ["idle", livelock, inode]                              ["start", job, op, token, attempt, …]
    ["log", token, n, [[time, type, message], …], again]   ["logged", n]
    ["progress", token, value]                             ["cancel", token]
    ["submit", token, call, jobs]                          ["submitted", call, answers]
                                                           ["refused", call, class, text]
    ["finish", token, entries, ok, result, children, on_refusal, again, following]
    ["decline", token, why, following]
                                                           ["ok", token]   ["again", token]
                                                           ["end", why]

`again` marks what was sent before on a connection that broke: its log entries may be there already.
`following` is `[livelock, inode]`, held for the next execution: with `ok` the worker is idle, and a
start may come along.  In version 1 it said `idle` after `ok` instead, and could not decline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from jqueue.errors import TooLarge
from jqueue.job import jsonio

SOCKET: Final = "socket"
"""Its name in the queue's directory."""
END: Final = b"\x03"
HELLO: Final = "WorkerHello"
WORKER_VERSION: Final = 2
ADOPTED_VERSIONS: Final = (1, 2)
"""An owner takes the workers of these: it must tell none of them what its version doesn't know."""
MAX_FRAME_BYTES: Final = 64 << 20
"""No message is longer than a record of the journal, which it would have to fit."""
READ_BYTES: Final = 256 << 10

Frame = bytes | bytearray
"""The bytes of one message; whoever is given one may keep it."""


def frame(message: Any) -> bytes:
    """Return a message as it goes over the socket."""
    return jsonio.dumps(message) + END


class Splitter:
    """Takes bytes as they come and gives whole frames; holds at most one frame of `limit` bytes."""

    def __init__(self, limit_bytes: int = MAX_FRAME_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Return the frames that `data` completes, without their ends.

        Raises TooLarge; nothing after that can be understood.
        """
        if not self._rest and data.endswith(END) and data.count(END) == 1:
            self._check(len(data) - 1)
            return [data[:-1]]
        self._rest += data
        at = self._rest.find(END, self._searched)
        if at < 0:
            self._searched = len(self._rest)
            self._check(self._searched)
            return []
        if at == len(self._rest) - 1:
            # The usual end of a long message, which is handed over without a copy.
            whole, self._rest, self._searched = self._rest, bytearray(), 0
            self._check(at)
            del whole[at:]
            return [whole]
        *frames, rest = bytes(self._rest).split(END)
        self._rest, self._searched = bytearray(rest), len(rest)
        for each in (*frames, rest):
            self._check(len(each))
        return frames

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished frame is here."""
        return len(self._rest)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise TooLarge(
                f"a message of more than {self._limit_bytes} bytes; the connection is closed",
                size_bytes=size_bytes,
                limit_bytes=self._limit_bytes,
            )
