"""`prune`: remove finished jobs for good."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from archive_tools.command import command, directory_argument
from archive_tools.writer import writer
from jqueue.console.terminal import put, say
from jqueue.job import jsonio
from jqueue.job.snapshot import Job
from jqueue.store.offline import OfflineQueue

CHUNK: Final = 200
"""Jobs removed by one transaction: others get their turn in between."""
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class _Amount(click.ParamType):  # type: ignore[type-arg]  # generic in recent clicks only
    """A whole number with a unit."""

    def __init__(self, name: str, units: dict[str, int]) -> None:
        self.name = name
        self._units = units

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of seconds, or bytes."""
        found = re.fullmatch(r"([0-9]{1,15})([a-z]?)", str(value).lower(), re.ASCII)
        if found is None or found[2] not in self._units:
            known = ", ".join(unit for unit in self._units if unit)
            self.fail(f"{value!r} is no whole number with a unit ({known})", param, ctx)
        return int(found[1]) * self._units[found[2]]


class Candidate(NamedTuple):
    """A finished job, when it ended (0: not known), and the bytes of its document."""

    id: int
    ended_s: float
    size_bytes: int


@command("prune")
@directory_argument()
@click.option("--older-than", type=_Amount("age", _UNITS), help="Those that ended so long ago: 90d")
@click.option("--keep", type=click.IntRange(min=0), help="All but this many of the newest.")
@click.option("--keep-size", type=_Amount("size", _SIZES), help="All but the newest of 500m.")
@click.option("--live", is_flag=True, help="Also finished jobs that are not archived.")
@click.option("--yes", is_flag=True, help="Do it; without, only say what would be done.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done (the default).")
@click.pass_context
def prune(
    context: click.Context,
    directory: Path,
    *,
    older_than: int | None,
    keep: int | None,
    keep_size: int | None,
    live: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Remove archived jobs of DIRECTORY for good, by age, number or size.

    Of several limits each is kept.  It goes through the queue's journal, by a running daemon or
    under the lock.  A job that an unfinished one depends on stays; then the exit code is 1.

    \b
    Example:
      jqueue-archive prune --older-than 90d /var/lib/jqueue
    """  # noqa: D301  # \b is click's mark for text that is not wrapped
    if older_than is None and keep is None and keep_size is None:
        raise click.UsageError("say what goes: --older-than AGE, --keep N or --keep-size SIZE")
    if yes and dry_run:
        raise click.UsageError("--yes or --dry-run, not both")
    with OfflineQueue(directory) as queue:
        found = list(_candidates(queue, live=live))
        needed = {job for job in (c.id for c in found) if queue.find(f"waited/{job}")}
    chosen = choose(found, time.time(), older_than, keep, keep_size)
    if not yes:
        _preview(chosen, needed, len(found))
        return
    pruned = 0
    kept: list[tuple[int, str]] = []
    with writer(directory) as queue_writer:
        for at in range(0, len(chosen), CHUNK):
            ids = [candidate.id for candidate in chosen[at : at + CHUNK]]
            count, stay = queue_writer.prune(ids)
            pruned += count
            kept += stay
    put(f"{pruned} jobs removed, {len(found) - pruned} stay")
    for job, why in kept:
        say(f"job {job} stays: {why}")
    context.exit(1 if kept else 0)


def choose(
    found: list[Candidate],
    now_s: float,
    older_than_s: int | None,
    keep: int | None,
    keep_bytes: int | None,
) -> list[Candidate]:
    """Return which go: those beyond any of the limits, oldest (by their IDs) first."""
    gone = []
    size = 0
    for rank, candidate in enumerate(sorted(found, reverse=True)):
        size += candidate.size_bytes
        # An age that can't be told is none: a clock that went back removes nothing.
        aged = older_than_s is not None and 0 < candidate.ended_s <= now_s - older_than_s
        many = keep is not None and rank >= keep
        large = keep_bytes is not None and size > keep_bytes
        if aged or many or large:
            gone.append(candidate)
    return gone[::-1]


def _candidates(queue: OfflineQueue, *, live: bool) -> Iterator[Candidate]:
    for number in queue.job_ids(archived=True):
        job = queue.job(number)
        if job is not None and job.finalized and (live or job.archived):
            ended = job.ended or _last_end(job)
            yield Candidate(
                number, 0 if ended is None else ended.timestamp(), len(jsonio.dumps(job.to_dict()))
            )


def _last_end(job: Job) -> Any:
    return max((op.ended for op in job.ops if op.ended is not None), default=job.received)


def _preview(chosen: list[Candidate], needed: set[int], total: int) -> None:
    size = sum(candidate.size_bytes for candidate in chosen)
    going = [candidate.id for candidate in chosen if candidate.id not in needed]
    put(f"{len(going)} of {total} jobs would be removed, {size} bytes of documents")
    if going:
        put(f"from job {going[0]} to job {going[-1]}")
    for candidate in chosen:
        if candidate.id in needed:
            say(f"job {candidate.id} would stay: unfinished jobs depend on it")
    say("nothing was changed; --yes does it")
