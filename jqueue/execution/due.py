"""What waits for a time: that of the wall (`not_before`), or so many seconds from now.

The wall's clock may be set, forward or back, so only what a person asked of it rests on it.  How
long something has still to wait (a retry's backoff, the patience of one who waits for locks) is
counted on the steady clock, which nobody can set, from the moment at which it was first seen.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Agenda:
    """Jobs by the time at which each is due; the newest time given to a job is the one that counts.

    `now_s` is the clock that the times are of.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._at: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def set(self, job: int, at_s: float) -> None:
        """Let the job be due then."""
        self._at[job] = at_s
        heapq.heappush(self._heap, (at_s, job))

    def drop(self, job: int) -> None:
        """Let it be due no more."""
        self._at.pop(job, None)

    def __bool__(self) -> bool:
        """Whether anything waits, or did a moment ago."""
        return bool(self._heap)

    def left_s(self, job: int) -> float:
        """Return how long it is until the job's time comes; 0 if it has come, or it has none."""
        at_s = self._at.get(job)
        return 0.0 if at_s is None else max(at_s - self._now_s(), 0.0)

    def take_due(self) -> list[int]:
        """Return the jobs whose time has come; they are due no more."""
        if not self._heap:
            return []
        now_s = self._now_s()
        taken = []
        while (first := self.first()) is not None and first[0] <= now_s:
            heapq.heappop(self._heap)
            taken.append(first[1])
            del self._at[first[1]]
        return taken

    def next_in_s(self) -> float | None:
        """Return how long it is until the next time comes, or None."""
        first = self.first()
        return None if first is None else max(first[0] - self._now_s(), 0.0)

    def first(self) -> tuple[float, int] | None:
        """Return the time and job that come next."""
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0] if heap else None
