"""How large a job may become: what ends it must fit a record, beside its document.

A segment that does not hold a job yet needs the whole document in the job's next record.  So a
document beyond a record's size could never change again: neither start, nor fail, nor be archived.
Three quarters of a record are for what may grow (input, log, results), and refused is what would
make the document larger.  The last quarter is for what brings the job to its end, which nothing
refuses: starts, short results and errors, interruptions, cancellation, archiving.

A document's size is counted only when it can matter: the record that holds it whole is too large
for it, or what was added since is more than `UNCHECKED_BYTES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from jqueue.errors import TooLarge
from jqueue.job import jsonio
from jqueue.job.change import Change, JobSet, Logged, OpSet, Started, Submitted, touched_job
from jqueue.job.state import Layer
from jqueue.store.protocol import Transaction

MAX_DOCUMENT_BYTES: Final = 48 << 20
UNCHECKED_BYTES: Final = 4 << 20
"""So much is added to a job between two looks at its document."""
SMALL_BYTES: Final = 512
"""Values up to this size pass: a start, progress, a short result or error, of 10,000 opcodes."""


class Growth:
    """What was added to jobs since a segment holds them."""

    def __init__(self) -> None:
        self._added: dict[int, int] = {}

    def check(
        self,
        layer: Layer,
        transaction: Transaction,
        size_bytes: int,
        known: Sequence[int],
        whole: Sequence[int],
    ) -> None:
        """Note a record; raise `TooLarge` if it makes a job larger than a job may be.

        `size_bytes` is the record's size.  It changes the jobs `known`, whose documents the segment
        holds already, and brings the whole documents of the jobs `whole`.
        """
        suspects = [*whole] if size_bytes > MAX_DOCUMENT_BYTES else []
        added = self._added
        for job in known:
            added[job] = grown = added.get(job, 0) + size_bytes
            if grown > UNCHECKED_BYTES:
                suspects.append(job)
        if suspects:
            self._look(layer, transaction, suspects)

    def _look(self, layer: Layer, transaction: Transaction, suspects: Sequence[int]) -> None:
        growing = {touched_job(one) for one in transaction.changes if _grows(one, transaction)}
        for job in growing.intersection(suspects):
            assert job is not None
            entry = layer.new.get(job)
            size = 0 if entry is None else len(jsonio.dumps(entry.document))
            if size > MAX_DOCUMENT_BYTES:
                raise TooLarge(
                    f"job {job} would have {size} bytes, more than a job may have"
                    f" ({MAX_DOCUMENT_BYTES}); nothing was changed",
                    size_bytes=size,
                    limit_bytes=MAX_DOCUMENT_BYTES,
                )
            self._added.pop(job, None)


def _grows(change: Change, transaction: Transaction) -> bool:
    if isinstance(change, Submitted):
        return True
    if isinstance(change, Logged):
        return not transaction.essential
    if isinstance(change, OpSet | JobSet | Started):
        return len(jsonio.dumps(change.values)) > SMALL_BYTES
    return False
