"""What the log says of jobs and flags, told from the durable batches, whoever made them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from jqueue.job.change import DrainSet, OpSet, PauseSet, Started
from jqueue.job.failure import error_text
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from jqueue.store.protocol import Batch, Store

_log = logging.getLogger(__name__)

MAX_SHOWN: Final = 200
"""Of what an opcode failed with; the job has the rest."""


class Teller:
    """Says what failed and was canceled, drained and paused; with debug, each start and success.

    On whatever thread tells, so it does no more than it must.
    """

    def __init__(self, store: Store) -> None:
        self._undo: Callable[[], None] = lambda: None
        if _log.isEnabledFor(logging.INFO):
            self._undo = store.subscribe(self._note)

    def _note(self, batch: Batch) -> None:
        told: set[int] = set()
        for change in batch.changes:
            if isinstance(change, OpSet):
                # Of the opcodes that one record ends the first is the cause of the others' end.
                if change.job not in told and self._ended(batch, change):
                    told.add(change.job)
            elif isinstance(change, Started):
                if _log.isEnabledFor(logging.DEBUG):
                    self._say(logging.DEBUG, batch, change, "begins")
            elif isinstance(change, DrainSet):
                _tell_flag("drained: no new jobs are accepted", "undrained", change.flag)
            elif isinstance(change, PauseSet):
                _tell_flag("paused: nothing is started", "resumed", change.flag)

    def _ended(self, batch: Batch, change: OpSet) -> bool:
        status = change.values.get("status")
        if status == JobStatus.ERROR:
            failed = error_text(change.values.get("result"))
            self._say(logging.INFO, batch, change, f"failed: {failed:.{MAX_SHOWN}}")
        elif status == JobStatus.CANCELED:
            self._say(logging.INFO, batch, change, "is canceled")
        elif status == JobStatus.SUCCESS:
            if _log.isEnabledFor(logging.DEBUG):
                self._say(logging.DEBUG, batch, change, "succeeded")
        else:
            return False
        return True

    def _say(self, level: int, batch: Batch, change: OpSet | Started, text: str) -> None:
        entry = batch.values.get(change.job)
        document = None if entry is None else entry.document
        kind = "" if document is None else Job(document).ops[change.op].op_id
        named = {"job": change.job, "op": change.op, "kind": kind}
        _log.log(
            level, "opcode %d of job %d (%s) %s", change.op, change.job, kind, text, extra=named
        )

    def close(self) -> None:
        """Say no more."""
        self._undo()


def _tell_flag(is_set: str, lifted: str, flag: dict[str, Any] | None) -> None:
    if flag is None:
        _log.info("%s", lifted)
        return
    by = f", by {flag['by']}" if flag.get("by") else ""
    because = f" ({flag['reason']})" if flag.get("reason") else ""
    _log.info("%s%s%s", is_set, by, because)
