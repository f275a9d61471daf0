"""Resource locks and places: who holds what, and who waits for it, in order.

A *want* is a name with a mode: EXCLUSIVE, SHARED, or a number N of places for so many at once.
All wants of one opcode are granted together or not at all, and nothing is granted past an earlier
waiter (priority, then ID) that wants it in a conflicting mode.  So nobody holds one thing while
waiting for another, which rules deadlock out, and a waiter is overtaken by more urgent ones only.

Places don't make others wait for a waiter: an opcode that waits for a lock takes none meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

EXCLUSIVE: Final = "exclusive"
SHARED: Final = "shared"

Wants = Mapping[str, str | int]
Rank = tuple[int, int]
"""Priority and job ID: the order in which waiters are served."""


class Blocked(NamedTuple):
    """Why an opcode can't have what it wants: the name, and the jobs that have it or come first."""

    name: str
    holders: tuple[int, ...]


class LockTable:
    """Grants and waiters, derived from what live jobs record; nothing here is durable."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, str | int]] = {}
        self._grants: dict[int, Wants] = {}
        self._waiters: dict[int, tuple[Rank, Wants]] = {}
        self._waiting: dict[str, list[Rank]] = {}

    def blocked(self, rank: Rank, wants: Wants) -> Blocked | None:
        """Return what keeps the job from all of `wants`, or None if they can be granted now."""
        for name, mode in wants.items():
            held = self._held.get(name, {})
            if any(job != rank[1] for job in held) and not _fits(mode, held, rank[1]):
                return Blocked(name, tuple(held))
            if isinstance(mode, str):
                for earlier in self._earlier(name, rank):
                    if _conflict(mode, self._waiters[earlier[1]][1][name]):
                        return Blocked(name, (earlier[1],))
        return None

    def _earlier(self, name: str, rank: Rank) -> Iterator[Rank]:
        for waiter in self._waiting.get(name, ()):
            if waiter >= rank:
                return
            yield waiter

    def wait(self, rank: Rank, wants: Wants) -> None:
        """Let the job wait in its place, or move to it."""
        self._remove_waiter(rank[1])
        self._waiters[rank[1]] = rank, wants
        for name in wants:
            insort(self._waiting.setdefault(name, []), rank)

    def grant(self, job: int, wants: Wants) -> None:
        """Give the job all it wants; the caller has seen that nothing is in the way."""
        self._remove_waiter(job)
        if wants:
            self._grants[job] = wants
            for name, mode in wants.items():
                self._held.setdefault(name, {})[job] = mode

    def release(self, job: int) -> list[Rank]:
        """Take everything from the job, its place among the waiters too.

        Returns the waiters that may now have all they want; they keep their places until granted.
        """
        if job not in self._grants and job not in self._waiters:
            return []
        wants = self._grants.pop(job, {})
        for name in wants:
            held = self._held[name]
            del held[job]
            if not held:
                del self._held[name]
        freed = [*wants, *self._remove_waiter(job)]
        ready = {rank for name in freed for rank in self._first(name)}
        return sorted(ready)

    def waits_for(self, job: int) -> Blocked | None:
        """Return what a waiting job waits for, or None."""
        waiter = self._waiters.get(job)
        return None if waiter is None else self.blocked(*waiter)

    def waiters(self) -> list[Rank]:
        """Return all that wait, most urgent first."""
        return sorted(rank for rank, _ in self._waiters.values())

    def holders(self, name: str) -> tuple[int, ...]:
        """Return the jobs that hold `name`."""
        return tuple(self._held.get(name, ()))

    def _first(self, name: str) -> Iterator[Rank]:
        """Yield the waiters for `name` that can have all they want, as far as order lets them."""
        places = self._places_left(name)
        for rank in list(self._waiting.get(name, ())):
            wants = self._waiters[rank[1]][1]
            if self.blocked(rank, wants) is None:
                yield rank
                places -= 1
            if wants[name] == EXCLUSIVE or (isinstance(wants[name], int) and places <= 0):
                return

    def _places_left(self, name: str) -> int:
        modes = [self._waiters[rank[1]][1][name] for rank in self._waiting.get(name, ())[:1]]
        capacity = modes[0] if modes and isinstance(modes[0], int) else 0
        return capacity - len(self._held.get(name, ()))

    def _remove_waiter(self, job: int) -> Wants:
        waiter = self._waiters.pop(job, None)
        if waiter is None:
            return {}
        rank, wants = waiter
        for name in wants:
            ranks = self._waiting[name]
            del ranks[bisect_left(ranks, rank)]
            if not ranks:
                del self._waiting[name]
        return wants


def _fits(mode: str | int, held: Mapping[int, str | int], job: int) -> bool:
    if isinstance(mode, int):
        return sum(1 for holder in held if holder != job) < mode
    return mode == SHARED and all(other == SHARED for other in held.values())


def _conflict(mode: str | int, other: str | int) -> bool:
    return isinstance(mode, str) and isinstance(other, str) and EXCLUSIVE in (mode, other)
