"""The memory engine: the whole protocol, and nothing survives the process.

For tests and models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from jqueue.job import jsonio
from jqueue.job.state import Entry, Key, Layer, Place, is_open
from jqueue.store.index import claim_order, has_begun
from jqueue.store.ledger import Ledger, Record
from jqueue.store.protocol import (
    Batch,
    Committed,
    Compacted,
    Decide,
    Limits,
    Lsn,
    Transaction,
)


class _NoLog:
    """Durable at once."""

    def encode(self, lsn: Lsn, durable: Lsn, layer: Layer, transaction: Transaction) -> bytes:  # noqa: ARG002 - the protocol's
        """Return the changes as JSON, so that what no journal could hold is found here too."""
        return jsonio.dumps(transaction.changes)

    def forget(self, encoded: Any) -> None:
        """Nothing to undo."""

    def write(self, records: list[Any]) -> None:
        """Nothing to write."""

    def sync(self) -> None:
        """Nothing to sync."""

    def cut(self) -> None:
        """Nothing to cut."""

    full = False

    def rotate(self, last_lsn: Lsn, values: dict[Any, Any]) -> None:
        """There is nothing to rotate."""

    def relieve(self) -> bool:
        """There is no reserve."""
        return False

    def finished(self, batch: list[Record]) -> None:
        """No files follow."""


class MemorySnapshot:
    """A copy of the values of one moment."""

    def __init__(self, lsn: Lsn, values: dict[Key, Any]) -> None:
        self.lsn = lsn
        self._values = values

    def find(self, key: Key) -> Any:
        """Return the value of `key` at that moment, or None."""
        return self._values.get(key)

    def job_ids(self, *, archived: bool = False) -> list[int]:
        """Return the IDs of all live (and archived) jobs, ascending."""
        places = (Place.LIVE, Place.ARCHIVE) if archived else (Place.LIVE,)
        return sorted(key for key, entry in self._entries() if entry.place in places)

    def open_ids(self) -> list[int]:
        """Return the IDs of all unfinished jobs, ascending."""
        return list(self.unfinished())

    def begun_ids(self) -> list[int]:
        """Return the IDs of the unfinished jobs that are not queued, ascending."""
        return sorted(key for key, entry in self._entries() if has_begun(entry))

    def unfinished(self) -> Iterator[int]:
        """Yield the IDs of all unfinished jobs, ascending, judging each when it is its turn."""
        return (key for key, entry in sorted(self._entries()) if is_open(entry))

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        for key, entry in self._values.items():
            if isinstance(key, int):
                yield key, entry

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""


class MemoryStore:
    """A `Store` in memory."""

    limits = Limits(changes=None, size_bytes=None)

    def __init__(self) -> None:
        self.ledger = Ledger(_NoLog(), {}, path="memory")
        self.begin = self.ledger.begin
        self.flush = self.ledger.flush
        self.tell = self.ledger.tell
        self.find = self.ledger.find_durable
        self.subscribe = self.ledger.subscribe

    def transact(self, decide: Decide) -> Committed:
        """Append and make durable at once."""
        return self.ledger.transact(decide)

    def commit(self, transaction: Transaction) -> Committed:
        """Commit plain data."""
        return self.ledger.commit(transaction)

    def when_room(self, call: Callable[[], None]) -> bool:  # noqa: ARG002 - the protocol's
        """There always is."""
        return True

    def snapshot(self) -> MemorySnapshot:
        """Return a copy of the durable state."""
        with self.ledger.mutex:
            return MemorySnapshot(self.ledger.durable_lsn, self.ledger.durable_items())

    def claim_order(self) -> Iterator[tuple[int, int]]:
        """Yield (priority, job ID) of unfinished jobs, most urgent first."""
        with self.ledger.mutex:
            items = self.ledger.durable_items()
        return claim_order(items)

    def changes(self, since: Lsn, timeout_s: float | None = None) -> Iterator[Batch]:
        """Yield durable batches after `since`."""
        return follow(self.ledger, since, timeout_s)

    def close(self) -> None:
        """Nothing to keep."""


def follow(ledger: Ledger, since: Lsn, timeout_s: float | None) -> Iterator[Batch]:
    """Yield the durable batches after `since` until none comes for `timeout_s`."""
    while True:
        batches = ledger.batches_after(since, timeout_s)
        if batches is None:
            raise Compacted(since)
        if not batches:
            return
        for batch in batches:
            since = batch.lsn
            yield batch
