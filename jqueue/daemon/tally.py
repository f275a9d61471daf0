"""What happened in a queue since this owner took it: counted from the durable batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from jqueue.job.change import JobSet, Logged, Started, Submitted
from jqueue.job.status import FINALIZED, calc_status
from jqueue.store.protocol import Batch, Store

ENDS: Final = tuple(sorted(str(status) for status in FINALIZED))


class Tally:
    """Counts; written by whoever commits, one at a time, read by any thread."""

    def __init__(self, store: Store) -> None:
        self.submitted = 0
        self.started = 0
        """Opcodes, each attempt."""
        self.ended = Counter(dict.fromkeys(ENDS, 0))
        """Jobs by their final status."""
        self.interruptions = 0
        self._undo: Callable[[], None] = store.subscribe(self._note)

    def _note(self, batch: Batch) -> None:
        for change in batch.changes:
            kind = type(change)
            if kind is Submitted:
                self.submitted += 1
            elif kind is Started:
                self.started += 1
            elif type(change) is JobSet:
                if change.values.get("end_timestamp") is not None:
                    self._end(batch, change.job)
            elif type(change) is Logged and len(batch.changes) > 1:
                # Said in the record that takes the opcode from its process; a unit's own log
                # entries, whatever they say, are records of nothing else.
                self.interruptions += sum(entry[2] == "interrupted" for entry in change.entries)

    def _end(self, batch: Batch, job: int) -> None:
        entry = batch.values.get(job)
        if entry is not None and entry.document is not None:
            self.ended[str(calc_status(entry.document["ops"]))] += 1

    def to_dict(self) -> dict[str, Any]:
        """Return all counts, as JSON."""
        return {
            "submitted": self.submitted,
            "started": self.started,
            "ended": dict(self.ended),
            "interruptions": self.interruptions,
        }

    def close(self) -> None:
        """Count no more."""
        self._undo()
