"""Jobs followed until they have ended: each change as it is told by whoever makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from jqueue.cli.waiting import Deadline
from jqueue.errors import JobNotFound, WaitTimeout
from jqueue.job.family import named_children
from jqueue.job.snapshot import Job

if TYPE_CHECKING:
    from jqueue.cli.target import Client

AT_ONCE: Final = 100
"""So many jobs are followed at once; children beyond that are, as others end."""
LOOK_S: Final = 60.0
"""One request for a change waits so long; then another one follows."""
UNSEEN: Final = -1


class Following:
    """Follows jobs, and with `family` the children that they submit, and theirs."""

    def __init__(
        self,
        queue: Client,
        jobs: Iterable[int],
        *,
        family: bool = False,
        timeout_s: float | None = None,
    ) -> None:
        self._queue = queue
        self._family = family
        self._deadline = Deadline(timeout_s)
        self._seen: dict[int, tuple[int, list[int]]] = {job: (UNSEEN, []) for job in jobs}
        """Of each that has not ended: the LSN seen, and so many log entries of each opcode."""
        self._named = set(self._seen)
        self._known = set(self._seen)

    def __iter__(self) -> Iterator[Job]:
        """Yield each job now and whenever it has changed, with the log entries that are new.

        Raises WaitTimeout, JobNotFound.
        """
        while self._seen:
            left_s = self._deadline.left_s()
            if left_s == 0:
                raise WaitTimeout
            look_s = LOOK_S if left_s is None else min(left_s, LOOK_S)
            seen = dict(islice(self._seen.items(), AT_ONCE))
            try:
                job = self._queue.wait_any(seen, look_s)
            except WaitTimeout:
                continue
            except JobNotFound as error:
                if error.job_id is None or error.job_id in self._named:
                    raise
                # A child that was archived and pruned meanwhile, or never was one.
                del self._seen[error.job_id]
                continue
            self._note(job)
            yield job

    def _note(self, job: Job) -> None:
        # What was told last comes last: one that changes all the time holds nobody up.
        _, logged = self._seen.pop(job.id)
        if not job.finalized:
            new = [len(op.log) for op in job.ops]
            before = logged or [0] * len(new)
            self._seen[job.id] = job.lsn, [a + b for a, b in zip(before, new, strict=True)]
        if self._family:
            children = sorted(named_children(job.document) - self._known)
            self._known.update(children)
            self._seen.update((child, (UNSEEN, [])) for child in children)

    def on_absence(self, call: Callable[[], None]) -> None:
        """Call this when nobody runs the queue, and a daemon is waited for."""
        self._queue.on_absence = call

    @property
    def unfinished(self) -> list[int]:
        """The jobs that have not ended yet."""
        return list(self._seen)
