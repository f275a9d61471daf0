"""Damaged job files: each is set aside by a record, so that its ID is never used again."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from jqueue.errors import JQueueError
from jqueue.job.change import Quarantined
from jqueue.job.ids import job_file_name
from jqueue.job.state import Entry, Layer
from jqueue.job.status import JobStatus
from jqueue.store import jobfiles
from jqueue.store.disk import Disk
from jqueue.store.index import has_begun
from jqueue.store.ledger import Ledger
from jqueue.store.protocol import Transaction, new_transaction_id

_log = logging.getLogger(__name__)

_BEGUN: Final = (JobStatus.WAITING, JobStatus.RUNNING, JobStatus.CANCELING)


class Damage:
    """The damage that was met, by any thread, and that a thread which may wait puts on record.

    `hurry` is called when there is some.
    """

    def __init__(self, disk: Disk, ledger: Ledger, hurry: Callable[[], None]) -> None:
        self._disk = disk
        self._ledger = ledger
        self._hurry = hurry
        self._seen: set[int] = set()
        self._unrecorded: deque[int] = deque()

    def found(self, damaged: Mapping[int, str]) -> None:
        """Record what an opening has found: jobs, and what is wrong with the file of each."""
        for job, reason in damaged.items():
            self._ledger.commit(_set_aside(job, reason))

    def met(self, job: int) -> None:
        """Take note that the job's file can't be read."""
        if job not in self._seen:
            self._seen.add(job)
            self._unrecorded.append(job)
            self._hurry()

    def record(self) -> None:
        """Set aside what was met since the last time.  Raises what hinders the record."""
        while self._unrecorded:
            with contextlib.suppress(_Unharmed):
                self._ledger.transact(partial(self._quarantine, self._unrecorded[0]))
            # Only now: a record that failed is tried again by the next pass.
            self._unrecorded.popleft()

    def _quarantine(self, job: int, layer: Layer) -> Transaction:
        value = self._ledger.values.get(job)
        reason = None if isinstance(value, Entry) else jobfiles.damage(self._disk, job)
        if reason is None:
            raise _Unharmed(f"the document of job {job} is known, or its file is gone")
        if type(value) is not bytes:
            return _set_aside(job, reason)
        # What exactly it was can't be read any more, only whether it had begun.
        likely = _BEGUN if has_begun(value) else (JobStatus.QUEUED,)
        was = next((str(one) for one in likely if layer.find(f"count/{one}")), None)
        named = [
            key
            for key, held in self._ledger.values.items()
            if held == job and isinstance(key, str) and key.startswith(("unique/", "retry/"))
        ]
        return _set_aside(job, reason, was, named)


def _set_aside(
    job: int, reason: str, was: str | None = None, named: Sequence[str] = ()
) -> Transaction:
    file = job_file_name(job)
    text = "%s: damaged (%s); set aside in quarantine"
    _log.error(text, file, reason, extra={"job": job})
    change = Quarantined(job, file, reason[:500], was, named)
    return Transaction(new_transaction_id(), (change,), essential=True)


class _Unharmed(JQueueError):
    """There is nothing to set aside."""
