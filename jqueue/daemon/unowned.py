"""What there is to read of a queue that nobody serves: its directory, and no lock taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jqueue.queue.clock import SystemClock
from jqueue.queue.explain import without_owner
from jqueue.queue.reading import Reader
from jqueue.store import condition
from jqueue.store.lock import is_owned, read_owner
from jqueue.store.offline import OfflineQueue


class Unowned(Reader):
    """The reading verbs of the queue at `path`, as an owner would answer them."""

    def __init__(self, path: str) -> None:
        super().__init__(lambda: OfflineQueue(path), SystemClock().now_ns)
        self._path = path

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say what holds a job back, the missing owner among it."""
        return without_owner(super().explain(id))

    def status(self) -> dict[str, Any]:
        """Return what files show; `pid` is None, `holder` who owns the queue all the same."""
        owner = read_owner(Path(self._path)) if is_owned(Path(self._path)) else None
        holder = None if owner is None else owner["pid"]
        found = {**super().status(), **condition.place(self._path)}
        return {**found, "pid": None, "holder": holder}

    def metrics(self) -> str:
        """Return the same as Prometheus text."""
        from jqueue.daemon import metrics  # noqa: PLC0415 - few ask for them, and it takes a while

        return metrics.text(metrics.registry(self.status, of_process=False))

    def top(self, rows: int = 50) -> dict[str, Any]:
        """Return what `status` says without its owner's part: nothing is at work."""
        del rows
        return {**super().status(), "pid": None}
