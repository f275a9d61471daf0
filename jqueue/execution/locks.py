"""Resource locks and places: who holds what, and who waits for it, in order.

A *want* is a name with a mode: EXCLUSIVE, SHARED, or a number N of places for so many at once.
All wants of one opcode are granted together or not at all, and nothing is granted past an earlier
waiter (priority, then ID) that wants it in a conflicting mode, or needs one of the places left.

So nobody holds one thing while waiting for another, which rules deadlock out; and the first of the
waiters is held up by holders only: ARCHITECTURE.md has the bound that follows, and its proof.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
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


class Waiter(NamedTuple):
    """One who waits: its place in the order, and all that it wants."""

    rank: Rank
    wants: Wants


class HeldLock(NamedTuple):
    """A name that is held: in which mode, or in how many places, by whom, and who waits for it."""

    name: str
    mode: str | int
    holders: tuple[int, ...]
    waiting: int
    waiters: tuple[int, ...]
    """The first of those that wait."""


class LockTable:
    """Grants and waiters, derived from what live jobs record; nothing here is durable."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, str | int]] = {}
        self._grants: dict[int, Wants] = {}
        self._waiters: dict[int, Waiter] = {}
        self._waiting: dict[str, list[Rank]] = {}
        self._exclusive: dict[str, list[Rank]] = {}
        """Of those waiting for a name, who wants it exclusively."""

    def blocked(self, rank: Rank, wants: Wants) -> Blocked | None:
        """Return what keeps the job from all of `wants`, or None if they can be granted now."""
        for name, mode in wants.items():
            in_the_way = self._in_the_way(name, mode, rank)
            if in_the_way:
                return Blocked(name, tuple(in_the_way))
        return None

    def _in_the_way(self, name: str, mode: str | int, rank: Rank) -> list[int]:
        """Return the holders and earlier waiters because of whom the job can't have `name`."""
        held = self._held.get(name, {})
        others = [job for job in held if job != rank[1]]
        if isinstance(mode, int):
            waiting = self._waiting.get(name, [])
            earlier = [first[1] for first in waiting[: bisect_left(waiting, rank)]]
            return others + earlier if len(others) + len(earlier) >= mode else []
        if others and not (mode == SHARED and all(held[job] == SHARED for job in others)):
            return others
        rivals = self._exclusive if mode == SHARED else self._waiting
        first = rivals.get(name, [])[:1]
        return [first[0][1]] if first and first[0] < rank else []

    def wait(self, rank: Rank, wants: Wants) -> None:
        """Let the job wait in its place."""
        self._remove_waiter(rank[1])
        self._waiters[rank[1]] = Waiter(rank, wants)
        for name, mode in wants.items():
            insort(self._waiting.setdefault(name, []), rank)
            if mode == EXCLUSIVE:
                insort(self._exclusive.setdefault(name, []), rank)

    def move(self, rank: Rank) -> list[Rank]:
        """Give a waiting job another priority; return the waiters that may now have all."""
        wants = self._waiters[rank[1]].wants
        self.wait(rank, wants)
        return self._ready(wants)

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
        return self._ready([*wants, *self._remove_waiter(job)])

    def waits_for(self, job: int) -> Blocked | None:
        """Return what a waiting job waits for, or None."""
        waiter = self._waiters.get(job)
        return None if waiter is None else self.blocked(*waiter)

    def waits(self, job: int) -> bool:
        """Say whether the job has a place among the waiters."""
        return job in self._waiters

    def wanted_by(self, job: int) -> Wants:
        """Return what a waiting job wants."""
        return self._waiters[job].wants

    def holders(self, name: str) -> tuple[int, ...]:
        """Return the jobs that hold `name`."""
        return tuple(self._held.get(name, ()))

    def most_wanted(self, count: int, waiters: int) -> list[HeldLock]:
        """Return the held names for which most wait, with so many of their waiters."""
        waiting = self._waiting
        names = heapq.nlargest(count, self._held, key=lambda name: len(waiting.get(name, ())))
        return [
            HeldLock(
                name,
                next(iter(self._held[name].values())),
                tuple(islice(self._held[name], waiters)),
                len(waiting.get(name, ())),
                tuple(rank[1] for rank in waiting.get(name, [])[:waiters]),
            )
            for name in names
        ]

    def _ready(self, names: Iterable[str]) -> list[Rank]:
        return sorted({rank for name in names for rank in self._first(name)})

    def _first(self, name: str) -> Iterator[Rank]:
        """Yield the waiters for `name` that can have all they want, as far as order lets them."""
        taken = len(self._held.get(name, ()))
        for rank in list(self._waiting.get(name, ())):
            wants = self._waiters[rank[1]].wants
            mode = wants[name]
            if isinstance(mode, int) and taken >= mode:
                return
            if self.blocked(rank, wants) is None:
                yield rank
            if mode == EXCLUSIVE:
                return
            taken += 1

    def _remove_waiter(self, job: int) -> Wants:
        waiter = self._waiters.pop(job, None)
        if waiter is None:
            return {}
        rank, wants = waiter
        for name, mode in wants.items():
            _remove(self._waiting, name, rank)
            if mode == EXCLUSIVE:
                _remove(self._exclusive, name, rank)
        return wants


def _remove(ranks_by_name: dict[str, list[Rank]], name: str, rank: Rank) -> None:
    ranks = ranks_by_name[name]
    del ranks[bisect_left(ranks, rank)]
    if not ranks:
        del ranks_by_name[name]
