"""Which queued jobs stay in memory though their files hold them: they are about to be started."""

from __future__ import annotations

import threading
from typing import Final

KEPT_JOBS: Final = 4096
KEPT_BYTES: Final = 4 << 20
"""Of their files; in memory a document takes some five times as much."""


class Pending:
    """The first that come, as many as fit: who waits longest is started next.  Thread-safe."""

    def __init__(self, jobs: int = KEPT_JOBS, size_bytes: int = KEPT_BYTES) -> None:
        self._most_jobs = jobs
        self._most_bytes = size_bytes
        self._mutex = threading.Lock()
        self._kept: dict[int, int] = {}
        self._size_bytes = 0

    def keep(self, job: int, size_bytes: int) -> bool:
        """Say whether a queued job whose file has this size stays."""
        with self._mutex:
            self._drop(job)
            if (
                len(self._kept) >= self._most_jobs
                or self._size_bytes + size_bytes > self._most_bytes
            ):
                return False
            self._kept[job] = size_bytes
            self._size_bytes += size_bytes
        return True

    def drop(self, job: int) -> None:
        """The job is queued no more: there is room for another."""
        with self._mutex:
            self._drop(job)

    def _drop(self, job: int) -> None:
        self._size_bytes -= self._kept.pop(job, 0)
