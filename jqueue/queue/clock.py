"""The one door to time of this floor: rules are handed the moment, they never ask for it."""

import time
from typing import Final, Protocol

NS_PER_S: Final = 10**9


class Clock(Protocol):
    """Says what time it is."""

    def now_ns(self) -> int:
        """The Unix time in nanoseconds."""

    def steady_s(self) -> float:
        """Seconds of a clock that nobody can set; the same for all processes of one boot."""


class SystemClock:
    """The machine's clock; it may step, so nothing but stamps and `not_before` rests on it."""

    def now_ns(self) -> int:
        """The Unix time in nanoseconds."""
        return time.time_ns()

    def steady_s(self) -> float:
        """CLOCK_MONOTONIC."""
        return time.monotonic()
