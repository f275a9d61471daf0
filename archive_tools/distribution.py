"""How values are distributed, and events over time: counted in bounded memory, and mergeable.

What two halves of the values came to can be merged into what all of them come to, exactly.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, NamedTuple

GROWTH: Final = 1.02
"""Each bucket reaches 2 % further than the one before: a quantile is right within 1 % (the idea of
DDSketch: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019)."""
_LOG_GROWTH: Final = math.log(GROWTH)
LEAST: Final = 1e-6
"""Values below it are one bucket: times are in microseconds.  So there are 2,100 buckets at most
for all times from a microsecond to 30,000 years."""

MAX_BINS: Final = 4096
_WIDTHS_S: Final = (1, 10, 60, 600, 3600, 21_600, 86_400)


class Distribution:
    """Values that are not negative: how many, their mean and extremes exactly, quantiles nearly."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.largest = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, value: float) -> None:
        """Count a value; a negative one (a clock was set back) counts as 0."""
        value = max(value, 0.0)
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.largest = max(self.largest, value)
        self._buckets[math.ceil(math.log(max(value, LEAST)) / _LOG_GROWTH)] += 1

    def merge(self, other: Distribution) -> None:
        """Count all that `other` has counted."""
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.largest = max(self.largest, other.largest)
        self._buckets.update(other._buckets)

    def quantile(self, part: float) -> float:
        """Return the value that `part` (0 to 1) of all are no larger than, within 1 %."""
        left = part * (self.count - 1)
        for bucket, count in sorted(self._buckets.items()):
            left -= count
            if left < 0:
                middle = 2 * GROWTH**bucket / (GROWTH + 1)
                return min(max(middle, self.least), self.largest)
        return self.largest

    def buckets(self) -> list[tuple[float, float, int]]:
        """Return the buckets that hold anything, ascending: above, up to, how many values."""
        return [
            (GROWTH ** (bucket - 1), GROWTH**bucket, count)
            for bucket, count in sorted(self._buckets.items())
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; None for what no value has."""
        known = self.count > 0
        return {
            "count": self.count,
            "mean": self.total / self.count if known else None,
            "min": self.least if known else None,
            **{
                f"p{percent}": self.quantile(percent / 100) if known else None
                for percent in (50, 90, 99)
            },
            "max": self.largest if known else None,
            "buckets": [list(bucket) for bucket in self.buckets()],
        }


class Bin(NamedTuple):
    """The events from one moment until another."""

    start_s: int
    events: int


class Timeline:
    """Events over time, in bins as wide as it takes for `MAX_BINS` of them to hold all events."""

    def __init__(self) -> None:
        self.width_s = 1
        self._bins: Counter[int] = Counter()

    def add(self, second: int) -> None:
        """Count an event, by its Unix time."""
        self._bins[second // self.width_s] += 1
        if len(self._bins) > MAX_BINS:
            self._widen(MAX_BINS)

    def merge(self, other: Timeline) -> None:
        """Count all events that `other` has counted."""
        wider = max(self.width_s, other.width_s)
        self._bins = self._in_bins_of(wider)
        self.width_s = wider
        self._bins.update(other._in_bins_of(wider))
        self._widen(MAX_BINS)

    def bins(self) -> list[Bin]:
        """Return the bins that hold anything, ascending; each is `width_s` wide."""
        return [Bin(number * self.width_s, self._bins[number]) for number in sorted(self._bins)]

    def drawn(self, at_most: int) -> tuple[int, list[Bin]]:
        """Return a width in seconds, and all bins of it, the empty ones too: `at_most` of them."""
        width_s, found = self.width_s, self._bins
        while found and max(found) - min(found) >= at_most:
            width_s = _wider(width_s)
            found = self._in_bins_of(width_s)
        numbers = range(min(found), max(found) + 1) if found else range(0)
        return width_s, [Bin(number * width_s, found[number]) for number in numbers]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: the width, and each bin's start and count."""
        return {"width_s": self.width_s, "bins": [list(found) for found in self.bins()]}

    def _widen(self, at_most: int) -> None:
        while len(self._bins) > at_most:
            wider = _wider(self.width_s)
            self._bins = self._in_bins_of(wider)
            self.width_s = wider

    def _in_bins_of(self, width_s: int) -> Counter[int]:
        found: Counter[int] = Counter()
        for number, count in self._bins.items():
            found[number * self.width_s // width_s] += count
        return found


def _wider(width_s: int) -> int:
    """Return the next width: one that this one divides, so that no event changes its bin."""
    return next((wider for wider in _WIDTHS_S if wider > width_s), width_s * 10)


class Tally:
    """How often each of many names came: the first `limit` different ones, the rest together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.others = 0
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Count a name."""
        if name in self._counts or len(self._counts) < self.limit:
            self._counts[name] += count
        else:
            self.others += count

    def merge(self, other: Tally) -> None:
        """Count all that `other` has counted."""
        for name, count in other._counts.items():
            self.add(name, count)
        self.others += other.others

    def ranked(self, at_most: int | None = None) -> list[tuple[str, int]]:
        """Return names with their counts, the most frequent first, equal ones by name."""
        return sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:at_most]
