"""The seam between the rules of the queue and whatever keeps them durable.

A `Transaction` is plain data: an id, preconditions, changes.  An engine commits it whole or not at
all, and acknowledges it only once it is durable.  The memory engine, the directory engine and later
etcd pass one contract suite (`tests/contract`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from jqueue.errors import JobNotFound, JQueueError, QueueDrained, Refused
from jqueue.job.change import Change, Document
from jqueue.job.state import Entry, Key, Layer
from jqueue.job.status import JobStatus

Lsn = int


class Precondition(Protocol):
    """What must hold in the *next* state for a transaction to be appended."""

    def check(self, layer: Layer) -> None:
        """Raise a refusal, a `JQueueError`, unless it holds."""


@dataclass(frozen=True, slots=True)
class SerialIs:
    """The last job ID given out is still `serial`."""

    serial: int

    def check(self, layer: Layer) -> None:
        """Raise `Refused` if other jobs were submitted meanwhile."""
        found = layer.find("serial") or 0
        if found != self.serial:
            raise Refused(f"the serial is {found}, expected {self.serial}", precondition=self)


@dataclass(frozen=True, slots=True)
class NotDrained:
    """The queue takes submissions."""

    def check(self, layer: Layer) -> None:
        """Raise `QueueDrained` while the drain flag is set."""
        flag = layer.find("drain")
        if flag is not None:
            raise drained(flag)


@dataclass(slots=True)
class OpIs:
    """Opcode `op` of `job` has one of `statuses` and, if `token` is given.

    Was started by that record.
    """

    job: int
    op: int
    statuses: tuple[JobStatus, ...]
    token: Lsn | None = None

    def check(self, layer: Layer) -> None:
        """Raise `JobNotFound` or `Refused`."""
        self.check_document(live_document(layer, self.job))

    def check_document(self, document: Document) -> None:
        """Raise `Refused` unless it holds in the job's document."""
        ops = document["ops"]
        if not 0 <= self.op < len(ops):
            raise Refused(f"there is no {_where(self)}", precondition=self)
        op = ops[self.op]
        if op["status"] not in self.statuses:
            wanted = " or ".join(self.statuses)
            raise Refused(f"{_where(self)} is {op['status']}, not {wanted}", precondition=self)
        if self.token is not None and op.get("token") != self.token:
            found = op.get("token")
            raise Refused(f"{_where(self)} has token {found}, not {self.token}", precondition=self)


@dataclass(frozen=True, slots=True)
class JobAt:
    """Live job `job` was not changed since its document reflected `lsn` (None.

    A file without a stamp).
    """

    job: int
    lsn: Lsn | None

    def check(self, layer: Layer) -> None:
        """Raise `JobNotFound` or `Refused`."""
        found = live_document(layer, self.job).get("lsn")
        if found != self.lsn:
            raise Refused(f"job {self.job} changed meanwhile (LSN {found})", precondition=self)


def live_document(layer: Layer, job: int) -> Document:
    """Return the document of live job `job`; raises `JobNotFound`."""
    entry: Entry | None = layer.find(job)
    if entry is None or not entry.live or entry.document is None:
        raise JobNotFound(f"no live job {job}", job_id=job)
    return entry.document


def drained(flag: dict[str, Any]) -> QueueDrained:
    """Return the refusal that a set drain flag means."""
    reason = flag.get("reason") or None
    because = f": {reason}" if reason else ""
    return QueueDrained(f"the queue is drained{because}; undrain it first", reason=reason)


def _where(condition: OpIs) -> str:
    return f"opcode {condition.op} of job {condition.job}"


@dataclass(slots=True)
class Transaction:
    """Changes that become durable together or not at all; nobody changes it.

    `essential` marks what a full disk must not stop (finishing, canceling, draining): a reserve
    pays for it.  `note` is an engine's own: what its record says beside the changes.
    """

    id: str
    changes: tuple[Change, ...]
    pre: tuple[Precondition, ...] = ()
    essential: bool = False
    note: dict[str, Any] | None = None


class Committed(NamedTuple):
    """A durable transaction and its LSN: that of the first time, if it was committed again."""

    lsn: Lsn
    transaction: Transaction


class Batch(NamedTuple):
    """One durable transaction as watchers see it: every key it changed, with its new value."""

    lsn: Lsn
    values: dict[Key, Any]
    changes: tuple[Change, ...]


class Compacted(JQueueError):
    """Some of the batches asked for are no longer at hand: take a new snapshot."""

    def __init__(self, since: Lsn) -> None:
        super().__init__(
            f"the changes after LSN {since} are no longer at hand; take a snapshot", since=since
        )


class Limits(NamedTuple):
    """What an engine can take in one transaction; None is no limit."""

    changes: int | None
    size_bytes: int | None


Decide = Callable[[Layer], Transaction]
"""A rule: reads the next state, returns the transaction, or raises a refusal.

It may be run again.
"""

Watcher = Callable[[Batch], None]


class Snapshot(Protocol):
    """The durable state at one moment, whatever is committed while it is read."""

    lsn: Lsn

    def find(self, key: Key) -> Any:
        """Return the value of `key` at that moment, or None."""

    def job_ids(self, *, archived: bool = False) -> list[int]:
        """Return the IDs of all live (and archived) jobs, ascending."""

    def unfinished(self) -> Iterator[int]:
        """Yield the IDs of all unfinished jobs, ascending, judging each when it is its turn."""

    def open_ids(self) -> list[int]:
        """Return the IDs of all unfinished jobs, ascending."""

    def begun_ids(self) -> list[int]:
        """Return the IDs of the unfinished jobs that are not queued, ascending."""

    def close(self) -> None:
        """Let the engine forget the moment."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""


class Ticket(Protocol):
    """A transaction that is appended, not yet durable."""

    def wait(self) -> Committed:
        """Return once it is durable.

        Raises the refusal or failure, itself resting on durable records.
        """


class Store(Protocol):
    """What `jqueue.queue` and the floors above it know of an engine.  Thread-safe."""

    limits: Limits

    def transact(self, decide: Decide) -> Committed:
        """Run `decide` on the next state in journal order.

        Return when its transaction is durable.
        """

    def begin(self, decide: Decide) -> Ticket:
        """Append like `transact`, without waiting; one `flush` makes all begun ones durable."""

    def flush(self, *, tell: bool = True) -> None:
        """Make everything begun so far durable with one sync; failures surface in the tickets.

        Without `tell` watchers are told of it by `tell`, or by whoever commits next.
        """

    def tell(self) -> None:
        """Tell watchers what is durable and not told yet."""

    def when_room(self, call: Callable[[], None]) -> bool:
        """Say whether a submission may be begun now.

        If not, `call` is called once, on any thread, when it is time to ask again.  What ends work
        is begun without asking.  Raises what keeps the engine from making room.
        """

    def commit(self, transaction: Transaction) -> Committed:
        """Commit plain data.  The same id again returns the first LSN and changes nothing."""

    def find(self, key: Key) -> Any:
        """Return the durable value of `key`, or None."""

    def snapshot(self) -> Snapshot:
        """Return the durable state of this moment."""

    def claim_order(self) -> Iterator[tuple[int, int]]:
        """Yield (priority, job ID) of the unfinished jobs, most urgent first, lazily.

        As of the call: an entry may be out of date when it is read.
        """

    def subscribe(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with each durable batch, in order, on whatever thread tells.

        What was durable before, and not told yet, is among them.

        Returns the undo.
        """

    def changes(self, since: Lsn, timeout_s: float | None = None) -> Iterator[Batch]:
        """Yield the durable batches after `since` as they come, until none does for `timeout_s`.

        Raises `Compacted` if some are no longer at hand.
        """

    def close(self) -> None:
        """Make everything durable and let go of the queue."""


_process_ids = itertools.count(1)
_process_prefix = ""
_process_pid = 0


def new_transaction_id() -> str:
    """Return an id no other transaction has: a random prefix for this process, then a count."""
    global _process_prefix, _process_pid
    if _process_pid != os.getpid():
        _process_prefix, _process_pid = os.urandom(8).hex(), os.getpid()
    return f"{_process_prefix}-{next(_process_ids)}"
