"""The newest durable batches: what `changes` can hand out after the fact."""

from __future__ import annotations

from collections import deque
from typing import Final

from jqueue.store.protocol import Batch, Lsn

RECENT_BATCHES: Final = 4_096
RECENT_BYTES: Final = 8 << 20
"""So many batches, and bytes of their records, are kept."""


class Recent:
    """Batches in the order of their LSNs, bounded.  Not thread-safe."""

    def __init__(self) -> None:
        self._batches: deque[tuple[Batch, int]] = deque()
        self._bytes = 0

    def keep(self, batch: Batch, size_bytes: int) -> None:
        """Keep the newest one, whose record has so many bytes."""
        batches = self._batches
        batches.append((batch, size_bytes))
        self._bytes += size_bytes
        while len(batches) > RECENT_BATCHES or self._bytes > RECENT_BYTES:
            self._bytes -= batches.popleft()[1]

    def after(self, since: Lsn) -> list[Batch] | None:
        """Return all after LSN `since`, or None if some are not at hand any more."""
        if not self._batches or self._batches[0][0].lsn > since + 1:
            return None
        return [batch for batch, _ in self._batches if batch.lsn > since]
