"""What would be looked at next, told without taking anything: for those who only watch."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from jqueue.execution.locks import Rank

STALE: Final = 1000
"""So many outdated entries of one kind are passed over; what lies behind more is not told."""


class Ahead(Iterator[Rank]):
    """An order whose next ranks can be seen before they are taken."""

    def __init__(self, source: Iterator[Rank]) -> None:
        self._source = source
        self._seen: deque[Rank] = deque()

    def __next__(self) -> Rank:
        return self._seen.popleft() if self._seen else next(self._source)

    def peek(self, count: int) -> list[Rank]:
        """Return up to so many of the next ranks; they stay."""
        self._seen.extend(islice(self._source, max(count - len(self._seen), 0)))
        return list(islice(self._seen, count))


def smallest(heap: list[Rank], is_current: Callable[[Rank], bool]) -> Iterator[Rank]:
    """Yield a heap's current ranks in order, without changing it: k of them cost k log k."""
    passed = 0
    last: Rank | None = None
    places = [(heap[0], 0)] if heap else []
    while places and passed < STALE:
        rank, at = heapq.heappop(places)
        for child in (2 * at + 1, 2 * at + 2):
            if child < len(heap):
                heapq.heappush(places, (heap[child], child))
        # A job that left and came back stands there twice.
        if rank != last and is_current(rank):
            yield rank
        else:
            passed += 1
        last = rank
