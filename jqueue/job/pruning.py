"""What may be removed for good: a finished job that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Iterable

from jqueue.job.ids import ARCHIVE_DIVISOR
from jqueue.job.state import PACK, Entry, Layer, Place
from jqueue.job.status import FINALIZED, calc_status


def prunable(layer: Layer, jobs: Iterable[int]) -> tuple[list[int], list[tuple[int, str]]]:
    """Return those that may go, and the others, each with why it must stay."""
    gone: list[int] = []
    kept: list[tuple[int, str]] = []
    for job in jobs:
        why = why_not_prunable(layer, job)
        if why is None:
            gone.append(job)
        else:
            kept.append((job, why))
    return gone, kept


def why_not_prunable(layer: Layer, job: int) -> str | None:
    """Return why the job must stay, in words; None if it may go."""
    entry: Entry | None = layer.find(job)
    if entry is not None and entry.place is Place.QUARANTINE:
        return "damaged: what can't be read is never removed"
    if entry is None or entry.document is None:
        return "not there"
    status = calc_status(entry.document["ops"])
    if status not in FINALIZED:
        return f"not finished: {status}"
    waiting = layer.find(f"waited/{job}")
    if waiting:
        return f"{waiting} unfinished jobs depend on it"
    fault = layer.find(f"{PACK}{job // ARCHIVE_DIVISOR}") if entry.place is Place.ARCHIVE else None
    if fault:
        # Only a whole pack can be written anew without it.
        return f"its pack is damaged ({fault}); mend it with: jqueue-archive repair"
    return None
