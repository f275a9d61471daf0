"""Jobs that can't start now, and how many for which reason."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Held(NamedTuple):
    """Why a job can't start: a word, a line, what would release it, and the jobs in its way."""

    reason: str
    text: str
    until: str = ""
    jobs: tuple[int, ...] = ()


class Holding:
    """Held jobs; they are counted by reason as they come and go, however many there are."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self.counts = Counter[str]()

    def hold(self, job: int, why: Held) -> None:
        """Hold the job, for this reason from now on."""
        self.release(job)
        self._held[job] = why
        self.counts[why.reason] += 1

    def release(self, job: int) -> None:
        """Let the job go, if it is held."""
        why = self._held.pop(job, None)
        if why is not None:
            self.counts[why.reason] -= 1

    def why(self, job: int) -> Held | None:
        """Return why the job is held, None if it isn't."""
        return self._held.get(job)

    def is_held(self, job: int, *reasons: str) -> bool:
        """Say whether the job is held for one of these reasons."""
        why = self._held.get(job)
        return why is not None and why.reason in reasons

    def __contains__(self, job: object) -> bool:
        return job in self._held
