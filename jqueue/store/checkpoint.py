"""Files follow: the thread that brings job files up to date and lets go of old journal.

In this order, so that a crash between any two steps leaves a state that an opening understands:
write every file that is behind; sync files and directories; write the index; make a record durable
that says through which LSN files reflect everything; only then forget the segments before it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from jqueue.errors import JQueueError
from jqueue.store.failed import FULL_ERRNOS
from jqueue.store.index import INDEXED_TRANSACTIONS, make_index, write_index
from jqueue.store.protocol import Transaction, new_transaction_id
from jqueue.store.record import encode_line
from jqueue.store.segment import JOURNAL, WATERMARK, segment_numbers, segment_path

if TYPE_CHECKING:
    from jqueue.job.state import Layer
    from jqueue.store.disk import Disk
    from jqueue.store.files import Files
    from jqueue.store.journal import Journal
    from jqueue.store.ledger import Ledger
    from jqueue.store.room import Room

_log = logging.getLogger(__name__)

LAG_S: Final = 0.5
"""How long a changed file may wait, so that changes coalesce; the promise is 1 s."""
IDLE_S: Final = 3.0
"""After this long without a commit everything is retired, so that opening again is cheap."""
RETRY_S: Final = 1.0
HISTORY_S: Final = 7 * 86_400.0
HISTORY_BYTES: Final = 256 << 20
HISTORY_SEGMENTS: Final = 4096


class Checkpointer:
    """Runs beside the commits; one thread, or none where the caller asks for each checkpoint."""

    def __init__(
        self, disk: Disk, journal: Journal, files: Files, ledger: Ledger, room: Room
    ) -> None:
        self._disk = disk
        self._journal = journal
        self._files = files
        self._ledger = ledger
        self._room = room
        self._wake = threading.Condition()
        self._work = threading.Lock()
        self._closing = False
        self._hurried = False
        self._index_bytes = 0
        self._thread: threading.Thread | None = None
        self._watermark = 0
        self._retired_lsn = ledger.durable_lsn
        self.error: OSError | None = None
        self.before_pass: Callable[[], None] = lambda: None
        """What else is to be done by a thread that may wait for a record."""
        self.history_s = HISTORY_S
        self.history_bytes = HISTORY_BYTES

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="jqueue-checkpoint", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Begin the next pass now: room is scarce."""
        with self._wake:
            self._hurried = True
            self._wake.notify_all()

    def want_index(self) -> None:
        """Retire at the next quiet moment, changes or not, so that there is an index again."""
        self._retired_lsn = -1

    def stop(self) -> None:
        """End the thread after what it is doing."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._pass_by_pass()
        finally:
            self._room.tell()

    def _pass_by_pass(self) -> None:
        last_lsn, since = self._ledger.durable_lsn, time.monotonic()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._hurried, LAG_S)
                if self._closing:
                    return
                hurried, self._hurried = self._hurried, False
            if self._ledger.failure is not None:
                return
            if self._ledger.durable_lsn != last_lsn:
                last_lsn, since = self._ledger.durable_lsn, time.monotonic()
                if not hurried:
                    self._pause()
            self._pass(idle=time.monotonic() - since > IDLE_S)

    def _pause(self) -> None:
        """Let changes gather, unless the queue closes."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._hurried, LAG_S)

    def _pass(self, *, idle: bool) -> None:
        try:
            with self._work:
                self.before_pass()
                if self._files.behind:
                    self._write_files()
                due = sum(segment.size_bytes for segment in self._journal.closed)
                enough = self._room.is_scarce or due >= max(
                    self._journal.segment_bytes, self._index_bytes
                )
                unretired = self._retired_lsn < self._ledger.durable_lsn or due
                if enough or (idle and unretired):
                    self._retire()
                else:
                    self._ledger.mark()
                self._restock()
            self.error = None
        except OSError as error:
            if self.error is None:
                _log.warning("checkpoint failed and will be repeated: %s", error)
            self.error = error
            if error.errno in FULL_ERRNOS and self._journal.relieve():
                return
            with self._wake:
                self._wake.wait_for(lambda: self._closing, RETRY_S)
        except JQueueError as error:
            _log.error("checkpoint stopped: %s", error)
        finally:
            self._room.tell()

    def checkpoint(self, *, closing: bool = False) -> None:
        """Write and sync every file that is behind now, and retire the journal up to here.

        Raises OSError if a file can't be written, OutcomeUnknown if a sync fails.
        """
        with self._work:
            self.before_pass()
            self._retire(closing=closing)
            self._restock()

    def restock(self) -> None:
        """Let the reserve have its size, unless it is spent: that is for the next pass."""
        with self._work:
            if not self._journal.reserve_spent:
                self._journal.restock()

    def _restock(self) -> None:
        if self._journal.reserve_spent and self._journal.restock():
            _log.info("space returned: the journal's reserve is whole again")

    def _write_files(self) -> None:
        highest = self._ledger.durable_lsn
        if highest > self._watermark:
            line = encode_line({"lsn": highest}, 0)
            # Fixed width, so that an overwrite never leaves the end of a longer one.
            self._disk.overwrite(WATERMARK, line.rstrip(b"\n").ljust(63) + b"\n")
            self._watermark = highest
        self._files.write_all()

    def _retire(self, *, closing: bool = False) -> None:
        through = self._ledger.durable_lsn
        closed = list(self._journal.closed)
        self._write_files()
        try:
            self._files.sync()
        except OSError as error:
            raise self._ledger.fail("sync of job files failed", error) from error
        indexed = self._write_index()
        reflected = self._say(through, indexed, closing=closing)
        self._retired_lsn = max(reflected, through)
        for segment in closed:
            self._journal.closed.remove(segment)
        self._drop_history()

    def _say(self, through: int, indexed: int, *, closing: bool) -> int:
        """Make durable that files reflect all through `through`, or this record if it is next."""
        said: dict[str, Any] = {}

        def decide(layer: Layer) -> Transaction:
            said["indexed"] = indexed
            said["reflects"] = layer.lsn if self._ledger.quiet_since(through) else through
            for key in ("serial", "drain", "pause"):
                said[key] = layer.find(key)
            if closing:
                said["mark"] = "closed"
            return Transaction(new_transaction_id(), (), essential=True, note=dict(said))

        self._ledger.transact(decide)
        return int(said["reflects"])

    def _write_index(self) -> int:
        with self._ledger.mutex:
            lsn = self._ledger.durable_lsn
            items = self._ledger.durable_items()
            known = self._ledger.remembered(INDEXED_TRANSACTIONS)
        try:
            self._index_bytes = write_index(self._disk, make_index(lsn, items, known))
        except OSError as error:
            raise self._ledger.fail("writing the index failed", error) from error
        return lsn

    def _drop_history(self) -> None:
        first_needed = min(
            [segment.number for segment in self._journal.closed], default=self._journal.number
        )
        past = [number for number in segment_numbers(self._disk) if number < first_needed]
        kept_bytes = 0
        oldest_ns = (time.time() - self.history_s) * 1e9
        for count, number in enumerate(reversed(past)):
            path = segment_path(number)
            kept_bytes += self._disk.size(path)
            too_old = self._disk.mtime_ns(path) < oldest_ns
            if too_old or kept_bytes > self.history_bytes or count >= HISTORY_SEGMENTS:
                for gone in past[: len(past) - count]:
                    self._disk.unlink(segment_path(gone))
                with contextlib.suppress(OSError):
                    self._disk.sync_dir(JOURNAL)
                return
