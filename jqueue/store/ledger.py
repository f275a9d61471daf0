"""The two states of a queue, and the group commit that leads from one to the other.

*next* is what rules and preconditions are checked against; it changes when a record is appended, in
journal order, under one mutex.  *durable* is what readers see; it advances after the sync.  The
ledger keeps *next* whole and, for keys whose newest value is not yet durable, the durable value
beside it.

The thread that finds nobody syncing becomes the leader: it takes all records gathered so far,
writes them with one call, syncs once, and hands the lead to a waiter of those that gathered
meanwhile.  The same code serves every engine; what makes records durable is its `Log`.

A failed write fails the batch and everything appended after it; the cut is synced before anyone is
told; *next* falls back to *durable*; then each record of the batch is tried alone, its rule run
anew.  A failed sync or cut stops the ledger: `OutcomeUnknown`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from jqueue.errors import JQueueError, OutcomeUnknown
from jqueue.job.state import Key, Layer, apply_all
from jqueue.store.failed import FULL_ERRNOS, append_failed, outcome_unknown
from jqueue.store.latency import Latency
from jqueue.store.log import Log
from jqueue.store.protocol import Batch, Committed, Decide, Lsn, Transaction, Watcher
from jqueue.store.recent import Recent

REMEMBERED_TRANSACTIONS: Final = 10_000
"""How many transaction ids are remembered beyond those that the journal still holds."""


class Record:
    """One transaction on its way: appended, then durable, refused or failed.  The ticket."""

    __slots__ = (
        "_ledger", "alone", "decide", "encoded", "error", "gate", "layer", "lsn", "settled",
        "transaction",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, decide: Decide) -> None:
        self._ledger = ledger
        self.decide = decide
        self.lsn: Lsn = 0
        self.transaction: Transaction | None = None
        self.layer: Layer | None = None
        self.encoded: Any = None
        self.error: BaseException | None = None
        self.settled = False
        self.alone = False
        self.gate: threading.Lock | None = None

    def wait(self) -> Committed:
        """Return once the transaction is durable, or raise what it met."""
        return self._ledger.settle(self)


class Ledger:
    """Two states and a log.  Thread-safe; `base` finds what is not in memory (job files)."""

    def __init__(
        self,
        log: Log,
        values: dict[Key, Any],
        *,
        last_lsn: Lsn = 0,
        load: Callable[[Key], Any] = lambda _: None,
        transactions: Iterable[tuple[str, Lsn]] = (),
        after: Callable[[Record], None] = lambda _: None,
        path: str = "",
    ) -> None:
        self.mutex = threading.Lock()
        self.values = values
        self.path = path
        self._log = log
        self._load = load
        self._after = after
        self.pending_values: dict[Key, Any] = {}
        self._pending: deque[Record] = deque()
        self._last_lsn = last_lsn
        self._durable_lsn = last_lsn
        self._written_lsn = last_lsn
        self._marked_lsn = last_lsn
        self._mark_end = last_lsn
        self._leading = False
        self._batches = 0
        self._failure: JQueueError | None = None
        self._transactions: OrderedDict[str, Lsn] = OrderedDict(transactions)
        self._watchers: list[Watcher] = []
        self._untold: deque[Batch] = deque()
        self._telling = threading.Lock()
        self._recent = Recent()
        self._advanced = threading.Condition(self.mutex)
        self.latency = Latency()
        """Of each batch, from its write to the end of its sync."""

    # Reading

    @property
    def durable_lsn(self) -> Lsn:
        """The LSN through which everything is durable."""
        return self._durable_lsn

    @property
    def last_lsn(self) -> Lsn:
        """The LSN of the last appended record."""
        return self._last_lsn

    @property
    def failure(self) -> JQueueError | None:
        """Why the ledger stopped, or None."""
        return self._failure

    def find(self, key: Key) -> Any:
        """Return the *next* value of `key`: for `Layer`, under the mutex."""
        value = self.values.get(key)
        if value is None or type(value) is bytes:
            return self._load(key)
        return value

    def find_durable(self, key: Key) -> Any:
        """Return the durable value of `key`."""
        with self.mutex:
            return self.peek_durable(key)

    def peek_durable(self, key: Key) -> Any:
        """Return the durable value of `key`; the caller holds the mutex."""
        if key in self.pending_values:
            return self.pending_values[key]
        return self.find(key)

    def remembered(self, most: int) -> list[tuple[str, Lsn]]:
        """Return ids and LSNs of the newest durable transactions; the caller holds the mutex."""
        newest = itertools.islice(reversed(self._transactions.items()), most)
        return [(name, lsn) for name, lsn in newest if lsn <= self._durable_lsn][::-1]

    def durable_items(self) -> dict[Key, Any]:
        """Return a copy of the durable values at hand, unloaded ones as bytes.

        The caller holds the mutex.
        """
        items = dict(self.values)
        for key, value in self.pending_values.items():
            if value is None:
                items.pop(key, None)
            else:
                items[key] = value
        return items

    def evict(self, key: Key, entry: Any, stub: bytes | None = None) -> None:
        """Let go of a value that its file now holds, unless a newer one has come.

        `stub` stays in its place.
        """
        with self.mutex:
            if key in self.pending_values or self.values.get(key) is not entry:
                return
            if stub is None:
                del self.values[key]
            else:
                self.values[key] = stub

    # Appending

    def begin(self, decide: Decide) -> Record:
        """Run `decide` on *next* and append its transaction, or the refusal that it raises."""
        record = Record(self, decide)
        self._append(record)
        return record

    def transact(self, decide: Decide) -> Committed:
        """Append and wait; watchers were told of it, too."""
        committed = self.settle(self.begin(decide))
        self.tell()
        return committed

    def commit(self, transaction: Transaction) -> Committed:
        """Append plain data and wait."""
        return self.transact(lambda _: transaction)

    def _append(self, record: Record) -> None:
        with self.mutex:
            if self._failure is not None:
                raise self._failure
            lsn = self._last_lsn + 1
            layer = Layer(self, lsn)
            try:
                transaction = record.decide(layer)
                known = self._transactions.get(transaction.id)
                if known is not None:
                    record.lsn = known
                    record.transaction = transaction
                else:
                    self._take(record, layer, transaction)
            except JQueueError as refusal:
                record.error = refusal
                record.lsn = self._last_lsn
            if record.layer is None and record.lsn <= self._durable_lsn:
                record.settled = True
            else:
                self._pending.append(record)

    def _take(self, record: Record, layer: Layer, transaction: Transaction) -> None:
        for condition in transaction.pre:
            condition.check(layer)
        apply_all(layer, transaction.changes)
        record.encoded = self._log.encode(layer.lsn, self._durable_lsn, layer, transaction)
        record.lsn = self._last_lsn = layer.lsn
        record.layer = layer
        record.transaction = transaction
        self._transactions[transaction.id] = layer.lsn
        before = layer.before
        durable = self.pending_values
        values = self.values
        for key, value in layer.new.items():
            if key not in durable:
                durable[key] = before[key]
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value

    # Waiting and leading

    def settle(self, record: Record) -> Committed:
        """Return once `record` is durable; leads the sync if nobody does."""
        while True:
            if not record.settled:
                self._lead_or_follow(record)
            error = record.error
            if error is None:
                assert record.transaction is not None
                self._after(record)
                return Committed(record.lsn, record.transaction)
            if not isinstance(error, _TryAlone):
                raise error
            record.error = None
            record.settled = False
            record.layer = record.transaction = record.encoded = None
            record.alone = error.alone
            record.gate = None  # open by now: whoever passed it would lead beside another leader
            self._append(record)

    def flush(self, *, tell: bool = True) -> None:
        """Make everything appended so far durable, or settle it with what it met.

        Without `tell` watchers are told by the next call of `tell`, or of whoever commits next.
        """
        with self.mutex:
            last = self._pending[-1] if self._pending else None
            if last is None:
                ending = self._batches + self._leading
                self._advanced.wait_for(lambda: self._batches >= ending)
                return
            # Not by the record's gate: that is its waiter's, and a lead is handed to one of them.
            if self._leading:
                self._advanced.wait_for(lambda: last.settled or not self._leading)
            if last.settled:
                return
            self._leading = True
        while not last.settled:
            self._lead(last, tell=tell)

    def _lead_or_follow(self, record: Record) -> None:
        with self.mutex:
            if record.settled:
                return
            gate = None
            if self._leading:
                gate = record.gate
                if gate is None:
                    gate = record.gate = threading.Lock()
                    gate.acquire()
            else:
                self._leading = True
        if gate is not None:
            with gate:
                pass
        while not record.settled:
            self._lead(record)

    def _lead(self, own: Record, *, tell: bool = True) -> None:
        """Write, sync and settle one batch; hand the lead on unless `own` still waits."""
        with self.mutex:
            batch = self._gather()
        settled = batch
        try:
            settled = self._make_durable(batch, tell=tell)
        except BaseException:
            # Interrupted between append and sync: what reached the disk is not known.
            settled = self._stop(OutcomeUnknown("interrupted while syncing", path=self.path), batch)
            raise
        finally:
            self._hand_on(settled, own)

    def _gather(self) -> list[Record]:
        pending = self._pending
        if pending and pending[0].alone:
            return [pending.popleft()]
        batch = []
        while pending and not pending[0].alone:
            batch.append(pending.popleft())
        return batch

    def _hand_on(self, settled: list[Record], own: Record) -> None:
        """Wake the next leader, first, so that the disk rests little, and then the settled."""
        with self.mutex:
            for record in settled:
                record.settled = True
            gates = [record.gate for record in settled if record.gate is not None]
            self._leading = not own.settled
            self._batches += 1
            if own.settled:
                for record in self._pending:
                    if record.gate is not None:
                        gates.insert(0, record.gate)
                        record.gate = None
                        self._leading = True
                        break
            self._advanced.notify_all()
        for gate in gates:
            gate.release()

    def _make_durable(self, batch: list[Record], *, tell: bool) -> list[Record]:
        """Return the records that are settled now: the batch, and on a failure those after it."""
        writing = [record.encoded for record in batch if record.layer is not None]
        if writing:
            began_s = time.perf_counter()
            try:
                self._write(batch, writing)
            except OSError as error:
                return self._fall_back(batch, error)
            try:
                self._log.sync()
            except OSError as error:
                return self._stop(self._unknown("sync of the journal failed", error), batch)
            self.latency.note(time.perf_counter() - began_s)
        self._advance(batch)
        if tell:
            self.tell()
        return [*batch, *self._rotate()] if self._log.full else batch

    def _rotate(self) -> list[Record]:
        """Rotate the log; what was encoded for the old place is to be appended again."""
        with self.mutex:
            undone = self._undo([])
            try:
                self._log.rotate(self._written_lsn, self.values)
            except OSError as error:
                failure = self._failure = outcome_unknown(
                    self.path, "beginning a new segment failed", error
                )
                for record in undone:
                    record.error = failure
        return undone

    def _undo(self, batch: list[Record]) -> list[Record]:
        """Let *next* fall back to *durable*; return `batch` and all that is pending, undone."""
        undone = [*batch, *self._pending]
        self._pending.clear()
        for key, value in self.pending_values.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
        self.pending_values.clear()
        self._last_lsn = self._written_lsn
        for record in reversed(undone):
            if record.layer is not None:
                assert record.transaction is not None
                del self._transactions[record.transaction.id]
                self._log.forget(record.encoded)
            record.error = _TryAlone(alone=False)
        return undone

    def _write(self, batch: list[Record], writing: list[Any]) -> None:
        while True:
            try:
                self._log.write(writing)
            except OSError as error:
                essential = any(
                    r.transaction is not None and r.transaction.essential for r in batch
                )
                if error.errno not in FULL_ERRNOS or not essential:
                    raise
                self._log.cut()
                if not self._log.relieve():
                    raise
            else:
                return

    def _advance(self, batch: list[Record]) -> None:
        durable, values = self.pending_values, self.values
        changed = [record for record in batch if record.layer is not None]
        batches = []
        with self.mutex:
            for record in changed:
                assert record.layer is not None
                assert record.transaction is not None
                new = record.layer.new
                for key, value in new.items():
                    if values.get(key) is value:
                        durable.pop(key, None)
                    else:
                        durable[key] = value
                batches.append(Batch(record.lsn, new, record.transaction.changes))
                self._recent.keep(batches[-1], len(record.encoded))
            if changed:
                self._durable_lsn = self._written_lsn = changed[-1].lsn
            while len(self._transactions) > REMEMBERED_TRANSACTIONS + len(self._pending):
                self._transactions.popitem(last=False)
            self._untold.extend(batches)
        if changed:
            self._log.finished(changed)

    # Failing

    def _fall_back(self, batch: list[Record], error: OSError) -> list[Record]:
        """Undo `batch` and everything appended after it; each of the batch is then tried alone."""
        try:
            self._log.cut()
        except OSError as worse:
            return self._stop(self._unknown("cutting off a failed append failed", worse), batch)
        guilty = [record for record in batch if record.layer is not None]
        with self.mutex:
            undone = self._undo(batch)
        for record in guilty:
            record.error = _TryAlone(alone=True)
        if len(guilty) == 1:
            guilty[0].error = append_failed(self.path, error)
        return undone

    def _unknown(self, what: str, error: OSError) -> OutcomeUnknown:
        return outcome_unknown(self.path, what, error)

    def _stop(self, failure: JQueueError, batch: list[Record]) -> list[Record]:
        """Fail everybody waiting, and everything from now on; returns those to wake."""
        with self.mutex:
            if self._failure is None:
                self._failure = failure
            stopped = [*batch, *self._pending]
            self._pending.clear()
            self._advanced.notify_all()
        for record in stopped:
            record.error = failure
        return stopped

    def fail(self, what: str, error: OSError) -> OutcomeUnknown:
        """Stop because a sync outside the log failed; return what callers get from now on."""
        failure = self._unknown(what, error)
        with self.mutex:
            if self._failure is None:
                self._failure = failure
            self._advanced.notify_all()
        return failure

    # When idle

    def mark(self) -> None:
        """If nobody commits and no record says it yet, append that the last one is durable.

        Not synced: it is evidence for the next opening, and nobody waits for it.
        """
        with self.mutex:
            idle = not self._leading and not self._pending and self._failure is None
            if not idle or self._marked_lsn >= self._durable_lsn:
                return
            lsn = self._last_lsn + 1
            said = Transaction("", (), essential=True, note={"mark": "idle"})
            encoded = self._log.encode(lsn, self._durable_lsn, Layer(self, lsn), said)
            try:
                self._log.write([encoded])
            except OSError:
                try:
                    self._log.cut()
                except OSError as error:
                    self._failure = outcome_unknown(
                        self.path, "cutting off a failed append failed", error
                    )
                return
            self._last_lsn = self._written_lsn = self._mark_end = lsn
            self._marked_lsn = self._durable_lsn

    def quiet_since(self, lsn: Lsn) -> bool:
        """Say whether nothing came after LSN `lsn` but a mark, which changes nothing."""
        marked = self._mark_end == self._last_lsn and self._marked_lsn <= lsn
        return self._last_lsn == lsn or marked

    # Watching

    def tell(self) -> None:
        """Tell all watchers what has become durable, in order, if nobody has yet."""
        with self._telling:
            while self._untold:
                batch = self._untold.popleft()
                for watcher in self._watchers:
                    watcher(batch)

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with each batch that is not told yet, and those to come.

        Returns the undo.
        """
        with self.mutex:
            self._watchers = [*self._watchers, watcher]

        def undo() -> None:
            with self.mutex:
                self._watchers = [known for known in self._watchers if known is not watcher]

        return undo

    def batches_after(self, since: Lsn, timeout_s: float | None) -> list[Batch] | None:
        """Wait for a durable batch after `since`; return all, None if some are not at hand."""
        with self.mutex:
            self._advanced.wait_for(
                lambda: self._durable_lsn > since or self._failure is not None, timeout_s
            )
            if self._durable_lsn <= since:
                if self._failure is not None:
                    raise self._failure
                return []
            return self._recent.after(since)


class _TryAlone(Exception):
    """The batch failed; the waiter appends its transaction again."""

    def __init__(self, *, alone: bool) -> None:
        super().__init__()
        self.alone = alone
