"""The directory engine: a `Store` whose records are journal lines and whose jobs are files.

    append to the journal -> fdatasync -> acknowledge -> files follow

See ARCHITECTURE.md for who holds which lock, and what a crash at each step leaves.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self

from jqueue.errors import QueueFailed
from jqueue.job.change import Submitted
from jqueue.job.state import PACK, Entry, Key, is_open
from jqueue.job.status import JobStatus, calc_priority
from jqueue.store import condition, opening
from jqueue.store.checkpoint import Checkpointer
from jqueue.store.damage import Damage
from jqueue.store.disk import Disk, temp_path
from jqueue.store.failed import disk_failed
from jqueue.store.files import Files
from jqueue.store.index import claim_order, has_begun, unloaded
from jqueue.store.journal import SEGMENT_BYTES, ClosedSegment, Journal
from jqueue.store.ledger import Ledger, Record
from jqueue.store.lock import QueueLock, write_owner
from jqueue.store.memory import follow
from jqueue.store.packed import DamagedPack, Packs
from jqueue.store.packing import Packed, Packer
from jqueue.store.pending import Pending
from jqueue.store.place import filesystem_warning, ownership_warning
from jqueue.store.protocol import (
    Batch,
    Committed,
    Decide,
    Limits,
    Lsn,
    Transaction,
    Watcher,
)
from jqueue.store.reads import Reads
from jqueue.store.realdisk import RealDisk, make_root
from jqueue.store.record import MAX_RECORD_BYTES
from jqueue.store.room import Room
from jqueue.store.segment import JOURNAL
from jqueue.store.snapshot import DirectorySnapshot

_log = logging.getLogger(__name__)

OWN_FILES: Final = 16
"""A submission of up to this many jobs writes their files before it returns."""

Durability = Literal["full", "process"]
FilesMode = Literal["now", "behind"]


class DirectoryStore:
    """A queue directory, owned by this process until `close`."""

    limits = Limits(changes=None, size_bytes=MAX_RECORD_BYTES)

    def __init__(
        self,
        disk: Disk,
        *,
        durability: Durability = "full",
        files: FilesMode = "now",
        lock: QueueLock | None = None,
        background: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Open what `disk` holds; the caller holds the queue's lock.

        Raises QueueCorrupt, FormatTooNew (nothing was changed), QueueFailed or DiskFull.
        """
        self.disk = disk
        self.path = disk.path
        self.durability = durability
        self._lock = lock
        self._own_files = files == "now"
        self._snapshots: list[DirectorySnapshot] = []
        self.journal = Journal(
            disk, mode=durability, on_durable=self._durable, segment_bytes=segment_bytes
        )
        self.packs = Packs(disk)
        self.packer = Packer(disk, self.packs)
        self._pending = Pending()
        self.files = Files(disk, self._evict, self.packer)
        self.room = Room(self.journal, self.files)
        try:
            found = opening.find(disk)
            self._begin(found)
        except OSError as error:
            raise disk_failed(disk.path, error) from error
        self.checkpointer = Checkpointer(disk, self.journal, self.files, self.ledger, self.room)
        self._damage = Damage(disk, self.ledger, self.checkpointer.hurry)
        self._reads = Reads(disk, self.packs, self._damage.met)
        self.checkpointer.before_pass = self._damage.record
        if found.scanned:
            self.checkpointer.want_index()
        self._damage.found(found.damaged)
        self._background = background
        if background:
            self.checkpointer.start()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        files: FilesMode = "now",
        create: bool = True,
        lock_timeout_s: float = 0,
    ) -> Self:
        """Own the queue at `path`, made if `create`.

        Raises QueueLocked, QueueCorrupt, FormatTooNew, and QueueFailed, also where there is no
        queue and `create` is false.
        """
        root = Path(path)
        if create:
            make_root(root)
        elif not root.is_dir():
            raise QueueFailed(f"{root}: there is no queue", path=str(root))
        for judge in (filesystem_warning, ownership_warning):
            verdict = judge(root)
            if verdict.answer == "refuse":
                raise QueueFailed(f"{verdict.message}; nothing was changed", path=str(root))
            if verdict.answer == "warn":
                _log.info("%s", verdict.message)
        lock = QueueLock(root, lock_timeout_s)
        try:
            disk = RealDisk(root)
            with contextlib.suppress(OSError):
                write_owner(disk)
            return cls(disk, durability=durability, files=files, lock=lock)
        except BaseException:
            lock.release()
            raise

    def _begin(self, found: opening.Found) -> None:
        """Go from what was found to a queue that can be written: a new segment, files to follow."""
        disk = self.disk
        opening.remove_temps(disk, found)
        self.ledger = Ledger(
            self.journal,
            found.values,
            last_lsn=found.last_lsn,
            load=self._load,
            transactions=found.transactions,
            after=self._write_own_files,
            path=str(disk.path),
        )
        for job in found.rewrite:
            entry = found.values.get(job)
            if isinstance(entry, Entry):
                self.files.note_found(job, entry)
        number = 1
        if found.journal is None:
            self._initialise()
        else:
            number = found.journal.newest.number + 1
            self.journal.reflects = found.journal.reflects
            self.journal.indexed = found.journal.newest.indexed
            for old in found.journal.segments:
                if old.number in found.held:
                    self.journal.closed.append(
                        ClosedSegment(
                            old.number, old.next_lsn - 1, old.size, found.held[old.number]
                        )
                    )
        self.journal.begin_segment(
            number,
            found.last_lsn,
            found.carried_from if found.copies else found.values,
            found.copies,
        )
        self.files.note_flags(found.values)
        self.journal.restock()

    def _initialise(self) -> None:
        """Make the parts of a queue that are not there; the first segment, last, makes it one."""
        disk = self.disk
        if not disk.exists("version"):
            # Synced before it has its name: a torn one would look like another format.
            temp = temp_path("version")
            disk.create(temp, b"1\n")
            disk.sync_file(temp)
            disk.rename(temp, "version")
        for name in (JOURNAL, "archive", "livelocks"):
            disk.mkdir(name, exist_ok=True)
        disk.sync_dir("")

    # What the ledger asks for

    def _load(self, key: Key) -> Any:
        if type(key) is str:
            return self.packs.fault(int(key[len(PACK) :])) if key.startswith(PACK) else None
        if type(key) is not int or key > (self.ledger.values.get("serial") or 0):
            return None
        return self._reads.load(key)

    def _durable(self, batch: list[Record]) -> None:
        layers = [record.layer for record in batch if record.layer is not None]
        for snapshot in self._snapshots:
            for layer in layers:
                snapshot.keep(layer.before)
        self.files.note(layers)
        if self.room.is_scarce:
            self.checkpointer.hurry()

    def _write_own_files(self, record: Record) -> None:
        if not self._own_files or record.layer is None or record.transaction is None:
            return
        jobs = [c.document["id"] for c in record.transaction.changes if type(c) is Submitted]
        if not 0 < len(jobs) <= OWN_FILES:
            return
        for job in jobs:
            try:
                self.files.write(job)
            except OSError as error:
                # The record is durable, so the submission succeeded; the checkpointer tries again.
                text = "the file of job %d will follow later: %s"
                _log.warning(text, job, error, extra={"job": job})

    def _evict(self, job: int, entry: Entry, size_bytes: int) -> None:
        """Let go of what the job's file of so many bytes holds now, unless it is needed soon."""
        self._reads.written(job)
        if has_begun(entry):
            self._pending.drop(job)
        elif not is_open(entry):
            self._pending.drop(job)
            self.ledger.evict(job, entry)
        elif not self._pending.keep(job, size_bytes):
            assert entry.document is not None
            stub = unloaded(JobStatus.QUEUED, calc_priority(entry.document["ops"]))
            self.ledger.evict(job, entry, stub)

    # The protocol

    def begin(self, decide: Decide) -> Record:
        """Append; `flush` or the record's `wait` makes it durable."""
        return self.ledger.begin(decide)

    def flush(self, *, tell: bool = True) -> None:
        """Make everything begun durable with one sync."""
        self.ledger.flush(tell=tell)

    def tell(self) -> None:
        """Tell watchers what is durable and not told yet."""
        self.ledger.tell()

    def transact(self, decide: Decide) -> Committed:
        """Append, and return when it is durable and a small submission's files are there."""
        return self.ledger.transact(decide)

    def commit(self, transaction: Transaction) -> Committed:
        """Commit plain data."""
        return self.ledger.commit(transaction)

    def find(self, key: Key) -> Any:
        """Return the durable value of `key`; a job's file is read outside the mutex."""
        for _ in range(3):
            with self.ledger.mutex:
                known, value = self._peek(key)
            if known:
                return value
            if type(key) is not int:
                return None
            value = self._load(key)
            if value is not None:
                return value
        return None

    def _peek(self, key: Key) -> tuple[bool, Any]:
        """Return whether memory knows the durable value, and the value."""
        ledger = self.ledger
        if key in ledger.pending_values:
            return True, ledger.pending_values[key]
        value = ledger.values.get(key)
        return value is not None and type(value) is not bytes, value

    def when_room(self, call: Callable[[], None]) -> bool:
        """Say whether a submission may be begun; if not, `call` says when to ask again.

        Raises DiskFull or QueueFailed if what would make room fails.
        """
        if self.room.is_full:
            if self.ledger.failure is not None:
                raise self.ledger.failure
            if self.checkpointer.error is not None:
                raise disk_failed(self.path, self.checkpointer.error)
            if not self._background:
                self.checkpoint()
        return self.room.enter(call)

    def snapshot(self) -> DirectorySnapshot:
        """Return the durable state of this moment."""
        with self.ledger.mutex:
            taken = DirectorySnapshot(self, self.ledger.durable_lsn, self.ledger.durable_items())
            self._snapshots = [*self._snapshots, taken]
        return taken

    def release(self, snapshot: DirectorySnapshot) -> None:
        """Forget a snapshot."""
        with self.ledger.mutex:
            self._snapshots = [known for known in self._snapshots if known is not snapshot]

    def claim_order(self) -> Iterator[tuple[int, int]]:
        """Yield (priority, job ID) of unfinished jobs, most urgent first."""
        with self.ledger.mutex:
            items = self.ledger.durable_items()
        return claim_order(items)

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with each durable batch."""
        return self.ledger.subscribe(watcher)

    def changes(self, since: Lsn, timeout_s: float | None = None) -> Iterator[Batch]:
        """Yield durable batches after `since`."""
        return follow(self.ledger, since, timeout_s)

    def keep(self, *, reserve_bytes: int, history_s: float, history_bytes: int) -> None:
        """Set how large the reserve is, and how much retired journal is kept, from now on."""
        self.journal.reserve_bytes = reserve_bytes
        self.checkpointer.history_s, self.checkpointer.history_bytes = history_s, history_bytes
        self.checkpointer.restock()

    def checkpoint(self) -> None:
        """Return when every file is written and synced and the journal retired up to now."""
        try:
            self.checkpointer.checkpoint()
        except OSError as error:
            raise disk_failed(self.path, error) from error

    def pack(self, number: int) -> Packed:
        """Put the files of archive directory `number` into one; see `jqueue.store.packing`."""
        return self._repack(self.packer.pack, number)

    def unpack(self, number: int) -> Packed:
        """Restore the files of a packed archive directory."""
        return self._repack(self.packer.unpack, number)

    def _repack(self, work: Callable[[int], Packed], number: int) -> Packed:
        try:
            return work(number)
        except OSError as error:
            raise disk_failed(self.path, error) from error
        except DamagedPack as error:
            raise QueueFailed(f"{error}; nothing was changed", path=str(self.path)) from error

    def status(self) -> dict[str, Any]:
        """Return what an operator wants to know of the engine."""
        return condition.engine(self)

    def close(self) -> None:
        """Bring every file up to date, say so in the journal, and let go of the queue.

        The lock is released whatever happens.  Raises QueueFailed or DiskFull if files could not
        be written: nothing is lost, the next opening writes them.
        """
        try:
            self.checkpointer.stop()
            if self.ledger.failure is None:
                self.checkpointer.checkpoint(closing=True)
        except OSError as error:
            raise disk_failed(self.path, error) from error
        finally:
            self.journal.close()
            self.disk.close()
            if self._lock is not None:
                self._lock.release()
