"""`QueueCore`: the verbs of a queue over any store, but for running, claiming and connecting."""

import getpass
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

from jqueue.errors import InvalidJob
from jqueue.job.ids import parse_job_id
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from jqueue.job.transitions import Outcome
from jqueue.queue import operating
from jqueue.queue.answer import ask, ask_with_room
from jqueue.queue.bulk import uncollected
from jqueue.queue.clock import NS_PER_S, Clock
from jqueue.queue.entries import Check
from jqueue.queue.protocol import AnyOp, ArchiveCount, Submission
from jqueue.queue.reading import Reader, as_flag, counts, finished_ids, job_of, parse_statuses
from jqueue.queue.submission import MAX_LIVE_JOBS, Terms, submit_many, submit_one
from jqueue.queue.waiting import Waiters
from jqueue.store.protocol import Decide, Store

ARCHIVE_CHUNK: Final = 200
"""Jobs archived by one transaction: others get their turn in between."""

COUNT_TRIES: Final = 8
"""How often the counts are read until two readings agree."""


class QueueCore:
    """A queue's rules on a store.  Thread-safe; whatever writes returns when it is durable.

    `check` raises InvalidJob for parameters that a known kind doesn't take.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        check: Check | None = None,
        max_live_jobs: int = MAX_LIVE_JOBS,
        user: str | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.check = check
        self.max_live_jobs = max_live_jobs
        self.reader = Reader(store.snapshot, clock.now_ns)
        self.waiters = Waiters(store)
        self._user = user

    # Submitting

    def submit(
        self,
        ops: Iterable[AnyOp],
        *,
        key: str | None = None,
        unique: str | None = None,
        despite_drain: bool = False,
    ) -> int:
        """Submit a job and return its ID, or that of the job which `key` or `unique` stands for.

        Raises InvalidJob, QueueDrained, QueueFull, KeyConflict, DiskFull, TooLarge.
        """
        terms = Terms(
            self.clock.now_ns(),
            self.max_live_jobs,
            key=key,
            unique=unique,
            despite_drain=despite_drain,
        )
        return int(ask_with_room(self.store, submit_one(ops, terms, self.check)))

    def submit_many(
        self, jobs: Iterable[Iterable[AnyOp]], *, key: str | None = None, atomic: bool = False
    ) -> list[Submission]:
        """Submit jobs in one transaction; entries are refused one by one.

        If `atomic`, the first refusal is raised and nothing is submitted.
        """
        terms = Terms(self.clock.now_ns(), self.max_live_jobs, key=key)
        with uncollected():
            decide = submit_many(jobs, terms, atomic=atomic, check=self.check)
            answers: list[Submission] = ask_with_room(self.store, decide)
        return answers

    def retry(self, id: int, *, from_failed: bool = False) -> int:
        """Submit a finished job again, as a new job, and return its ID; `from_failed`: only the
        opcodes from the first unsuccessful one.  While such a retry is unfinished, return its ID.
        """
        terms = Terms(self.clock.now_ns(), self.max_live_jobs)
        decide = operating.retry(parse_job_id(id), terms, from_failed=from_failed)
        return int(ask_with_room(self.store, decide))

    # Reading

    def job(self, id: int) -> Job:
        """Return a job, live or archived.  Raises JobNotFound."""
        job = parse_job_id(id)
        return job_of(self.store.find(job), job)

    def jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        statuses: Iterable[JobStatus | str] | None = None,
        archived: bool = False,
    ) -> Iterator[Job]:
        """Yield the jobs of this moment, ascending; with `archived`, those too."""
        return self.reader.jobs(ids=ids, statuses=statuses, archived=archived)

    def count(self, *, statuses: Iterable[JobStatus | str] | None = None) -> int:
        """Return how many live jobs there are (in these statuses), whatever their number."""
        wanted = parse_statuses(statuses)
        before = None
        # The counts are read one by one, and jobs move meanwhile.
        for _ in range(COUNT_TRIES):
            found = counts(self.store.find, wanted)
            if found == before or len(found) <= 1:
                return sum(found.values())
            before = found
        return self.reader.count(statuses=wanted)

    def wait(self, id: int, timeout_s: float | None = None) -> Job:
        """Return the job once it is finalized.  Raises WaitTimeout, JobNotFound."""
        job = parse_job_id(id)
        found = self.job(job)
        if not found.finalized:
            self.waiters.wait(job, lambda: self.job(job).finalized, timeout_s)
            found = self.job(job)
        return found

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why the job is not running: a list of `{"reason", "text"}`."""
        return self.reader.explain(id)

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue as a whole."""
        return self.reader.status()

    # Changing a job

    def cancel(self, id: int, kill: bool = False) -> Outcome:
        """Cancel a job that has not begun, or with `kill` a running one."""
        return self._outcome(operating.cancel(parse_job_id(id), now=self._now(), kill=kill))

    def change_priority(self, id: int, priority: int) -> Outcome:
        """Change the priority (-20 to 19) of the opcodes that have not begun."""
        return self._outcome(operating.set_priority(parse_job_id(id), priority))

    def resolve(self, id: int, *, happened: bool) -> Outcome:
        """Say whether the opcode that was set aside had its effect.  Raises JobNotFound."""
        job = parse_job_id(id)
        return self._outcome(operating.resolve(job, happened=happened, now=self._now()))

    def archive(self, id: int) -> bool:
        """Move a finalized job to the archive; false if it is not there, or not finalized."""
        return self._outcome(operating.archive(parse_job_id(id), now=self._now())).ok

    def auto_archive(self, age_s: float, *, timeout_s: float | None = None) -> ArchiveCount:
        """Archive all jobs that ended at least `age_s` ago; nothing of these remains.

        After `timeout_s` the rest is left for another time, and counted as remaining.
        """
        is_number = isinstance(age_s, int | float) and not isinstance(age_s, bool)
        if not is_number or not age_s >= 0:  # NaN isn't
            text = f"age must be a number of seconds, 0 for all, not {age_s!r:.80}"
            raise InvalidJob(text, field="age_s")
        now = self._now()
        if age_s * NS_PER_S > now:
            return ArchiveCount(0, 0)
        ended_before = now - int(age_s * NS_PER_S)
        with self.store.snapshot() as moment:
            ended = finished_ids(moment)
        archived = 0
        end_ns = None if timeout_s is None else now + int(timeout_s * NS_PER_S)
        for at in range(0, len(ended), ARCHIVE_CHUNK):
            if end_ns is not None and at and self._now() > end_ns:
                return ArchiveCount(archived, len(ended) - at)
            chunk = ended[at : at + ARCHIVE_CHUNK]
            archived += self.ask(operating.archive_many(chunk, ended_before=ended_before, now=now))
        return ArchiveCount(archived, 0)

    # Flags

    def drain(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Accept no new jobs; queued and running ones go on."""
        self.ask(operating.set_drain(self._flag(reason, by)))

    def undrain(self) -> None:
        """Accept new jobs again."""
        self.ask(operating.set_drain(None))

    def drain_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while drained, else None."""
        return as_flag(self.store.find("drain"))

    def pause(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Start no opcode; running ones go on."""
        self.ask(operating.set_pause(self._flag(reason, by)))

    def resume(self) -> None:
        """Start opcodes again."""
        self.ask(operating.set_pause(None))

    def pause_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while paused, else None."""
        return as_flag(self.store.find("pause"))

    # For the floors above

    def ask(self, decide: Decide) -> Any:
        """Run a rule and return its answer once it is durable; raises its refusal."""
        return ask(self.store, decide)

    def close(self) -> None:
        """Wake all who wait, make everything durable and let go of the queue."""
        self.waiters.fail()
        self.store.close()

    def _now(self) -> int:
        return self.clock.now_ns()

    def _outcome(self, decide: Decide) -> Outcome:
        outcome: Outcome = self.ask(decide)
        return outcome

    def _flag(self, reason: str | None, by: str | None) -> dict[str, Any]:
        return operating.make_flag(reason, by or self._user or _process_user(), self._now())


def _process_user() -> str:
    """The name of the user that this process runs as, or its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
