"""The reason trail: why an opcode is there, as `[source, reason, nanoseconds]`, one entry a hop."""

from collections.abc import Sequence
from typing import Any

MAX_ENTRIES = 256
"""Jobs that submit jobs that submit jobs … inherit their trail: without a bound it would grow for
ever. Whoever reads it wants its origin and the latest hops."""

_KEPT_FIRST = 16


def extend(
    trail: Sequence[Any] | None, source: str, reason: str, nanoseconds: int
) -> list[list[Any]]:
    """A new trail with one more entry; one that would be too long loses some from its middle."""
    if not trail:
        return [[source, reason, nanoseconds]]
    longer = [*trail, [source, reason, nanoseconds]]
    excess = len(longer) - MAX_ENTRIES
    if excess > 0:
        del longer[_KEPT_FIRST : _KEPT_FIRST + excess]
    return longer
