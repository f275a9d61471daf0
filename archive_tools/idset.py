"""A set of job IDs that costs an eighth of a byte each, as they are dense: for millions of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_BLOCK: Final = 8192


class IdSet:
    """IDs, as bits in blocks; a block is there only if an ID of it is."""

    def __init__(self) -> None:
        self._blocks: dict[int, bytearray] = {}

    def add(self, job: int) -> None:
        """Put an ID in."""
        number, at = divmod(job, _BLOCK)
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = bytearray(_BLOCK // 8)
        block[at >> 3] |= 1 << (at & 7)

    def __contains__(self, job: int) -> bool:
        """Say whether the ID was put in."""
        number, at = divmod(job, _BLOCK)
        block = self._blocks.get(number)
        return block is not None and bool(block[at >> 3] >> (at & 7) & 1)

    def shared_with(self, other: IdSet) -> Iterator[int]:
        """Yield the IDs that are in both, ascending."""
        for number in sorted(self._blocks.keys() & other._blocks.keys()):
            both = zip(self._blocks[number], other._blocks[number], strict=True)
            for at, (mine, theirs) in enumerate(both):
                common = mine & theirs
                yield from (number * _BLOCK + at * 8 + bit for bit in range(8) if common >> bit & 1)
