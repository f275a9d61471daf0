"""What a ledger asks of the place where its records become durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from jqueue.job.state import Layer
from jqueue.store.protocol import Lsn, Transaction

if TYPE_CHECKING:
    from jqueue.store.ledger import Record


class Log(Protocol):
    """What makes records durable: a journal, or nothing at all in memory."""

    def encode(self, lsn: Lsn, durable: Lsn, layer: Layer, transaction: Transaction) -> Any:
        """Return the record as the log writes it; raises `TooLarge`.  Called under the mutex."""

    def forget(self, encoded: Any) -> None:
        """Undo what `encode` remembered: the record falls back.  Called under the mutex."""

    def write(self, records: list[Any]) -> None:
        """Write all; on OSError nothing of them counts."""

    def sync(self) -> None:
        """Make what was written durable; an OSError here stops the ledger."""

    def cut(self) -> None:
        """Remove what a failed `write` left, durably; an OSError here stops the ledger."""

    @property
    def full(self) -> bool:
        """Say whether `rotate` is due."""

    def rotate(self, last_lsn: Lsn, values: dict[Any, Any]) -> None:
        """Begin a new place to write to; an OSError here stops the ledger."""

    def relieve(self) -> bool:
        """Free some reserved space for essential records; say whether there was any left."""

    def finished(self, batch: list[Record]) -> None:
        """Learn that these are durable; called by the leader, in order, outside the mutex."""
