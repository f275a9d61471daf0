"""Jobs read from their files, and those of them that are about to be needed again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from jqueue.job.state import Entry, is_open
from jqueue.store import jobfiles
from jqueue.store.disk import Disk
from jqueue.store.packed import Packs

REMEMBERED: Final = 64
"""So many unfinished jobs are kept: who looks at one is about to start it, and needs it again."""


class Reads:
    """Thread-safe.  `damaged` is called with each job whose file can't be read."""

    def __init__(self, disk: Disk, packs: Packs, damaged: Callable[[int], None]) -> None:
        self._disk = disk
        self._packs = packs
        self._damaged = damaged
        self._mutex = threading.Lock()
        self._kept: OrderedDict[int, Entry] = OrderedDict()
        self._writes = 0

    def load(self, job: int) -> Entry | None:
        """Return what the job's file says; QUARANTINED if it is damaged, None if there is none."""
        kept = self._kept.get(job)
        if kept is not None:
            return kept
        writes = self._writes
        entry = jobfiles.load(self._disk, job, self._packs)
        if entry is jobfiles.QUARANTINED:
            self._damaged(job)
        elif entry is not None and is_open(entry):
            self._keep(job, entry, writes)
        return entry

    def _keep(self, job: int, entry: Entry, writes: int) -> None:
        with self._mutex:
            # Not if files were written meanwhile: this one may have been read before.
            if self._writes == writes:
                self._kept[job] = entry
                if len(self._kept) > REMEMBERED:
                    self._kept.popitem(last=False)

    def written(self, job: int) -> None:
        """Forget what the job's file said."""
        with self._mutex:
            self._writes += 1
            self._kept.pop(job, None)
