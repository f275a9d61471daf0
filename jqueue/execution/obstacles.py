"""What keeps a job from starting, as the scheduler sees it; looks only, changes nothing."""

from __future__ import annotations

from typing import Final

from jqueue.errors import InvalidJob
from jqueue.execution.holding import Held
from jqueue.execution.locks import Blocked, Rank
from jqueue.execution.scheduler import Scheduler
from jqueue.execution.wants import kind_of, wanted
from jqueue.job.state import Entry
from jqueue.job.status import calc_priority
from jqueue.job.transitions import next_op

NAMED: Final = 5
"""So many jobs are named in a line."""


def obstacles(scheduler: Scheduler, job: int) -> list[Held]:
    """Return what of locks, limits and parameters keeps the job, looked at or not."""
    entry: Entry | None = scheduler.find(job)
    document = None if entry is None or not entry.live else entry.document
    at = None if document is None else next_op(document)
    if document is None or at is None or job in scheduler.executing:
        return []
    op = document["ops"][at]
    kind = kind_of(op)
    found = []
    if scheduler.is_full(kind):
        jobs = tuple(sorted(other for other, busy in scheduler.executing.items() if busy == kind))
        text = f"{len(jobs)} opcodes of kind {kind} run, as many as may: {_named(jobs)}"
        found.append(Held("limit", text, f"one of {_named(jobs)} ends", jobs))
    if job in scheduler.declined:
        until = "the daemon is restarted, or a worker that is launched can"
        found.append(Held("declined", scheduler.declined[job], until))
    try:
        wants = wanted(scheduler.units.get(kind), op)
    except InvalidJob as error:
        text = f"its parameters don't fit its unit: {error}"
        return [*found, Held("parameters", text, f"a daemon loads a unit for {kind} that fits")]
    blocked = scheduler.table.blocked((calc_priority(document["ops"]), job), wants)
    if blocked is not None:
        found.append(_blocked(scheduler, blocked))
    return found


def _blocked(scheduler: Scheduler, blocked: Blocked) -> Held:
    holders = scheduler.table.holders(blocked.name)
    jobs = tuple(sorted(blocked.holders))
    first = [one for one in jobs if one not in holders]
    parts = [_named(tuple(one for one in jobs if one in holders)) + " has"] if holders else []
    if first:
        parts.append(f"{_named(tuple(first))} waits for before it")
    text = f"it waits for {blocked.name}, which {' and '.join(parts)}"
    return Held("locks", text, f"{_named(jobs)} ends", jobs)


def is_before(scheduler: Scheduler, rank: Rank, kinds: frozenset[str]) -> bool:
    """Say whether a job of this rank would be looked at, and could start."""
    candidate = scheduler.candidates.get(rank[1])
    if candidate is None:
        return rank[1] not in scheduler.held and rank[1] not in scheduler.executing
    return candidate[0] in kinds and not scheduler.is_full(candidate[0])


def _named(jobs: tuple[int, ...]) -> str:
    named = ", ".join(map(str, jobs[:NAMED]))
    more = f" and {len(jobs) - NAMED} more" if len(jobs) > NAMED else ""
    return f"job {named}" if len(jobs) == 1 else f"jobs {named}{more}"
