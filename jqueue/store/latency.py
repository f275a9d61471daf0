"""How long commits took: a histogram cheap enough for every one of them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip
"""A fast disk syncs in 0.1 ms, a busy spinning one in 30; what takes 10 s is about to fail."""


class Latency:
    """Counts by size; one writer at a time, readers on any thread may be one observation behind."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """How many took up to each bound (and longer than the one before it), and longer."""
        self.sum_s = 0.0

    def note(self, took_s: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, took_s)] += 1
        self.sum_s += took_s
