"""`connect`: the verbs of a queue that another process owns, or nobody at the moment.

A command may ask one verb and end: what only some verbs need is imported there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jqueue.daemon.calls import Lost, NoOwner
from jqueue.daemon.place import default_path
from jqueue.daemon.reaching import Reach
from jqueue.errors import InvalidJob
from jqueue.job.ids import parse_job_id
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from jqueue.queue.protocol import AnyOp, ArchiveCount, Submission

if TYPE_CHECKING:
    from jqueue.daemon.unowned import Unowned
    from jqueue.execution.claim import OpClaim
    from jqueue.job.transitions import Outcome


def connect(path: str | os.PathLike[str] | None = None, *, timeout_s: float = 10) -> Client:
    """Return a client of the queue at `path`; nothing is opened or made yet.

    `timeout_s` is how long each verb tries to reach an owner, or to become one for a moment.
    """
    return Client(default_path() if path is None else os.fspath(path), timeout_s)


class Client:
    """A queue by its path: `queue.Queue` without owning it.  Thread-safe."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self.path = path
        self._reach = Reach(path, timeout_s)

    @property
    def has_owner(self) -> bool:
        """Whether some process serves this queue now."""
        try:
            self._reach.ask("drain_state", {})
        except (NoOwner, Lost):
            return False
        return True

    # Submitting

    def submit(
        self,
        ops: Iterable[AnyOp],
        *,
        key: str | None = None,
        unique: str | None = None,
        despite_drain: bool = False,
    ) -> int:
        """Submit a job and return its ID."""
        from jqueue.job.parameters import normalize_job  # noqa: PLC0415 - see the module

        return self._reach.write(
            "submit",
            int,
            repeatable=key is not None,
            ops=normalize_job(ops),
            key=key,
            unique=unique,
            despite_drain=despite_drain,
        )

    def submit_many(
        self, jobs: Iterable[Iterable[AnyOp]], *, key: str | None = None, atomic: bool = False
    ) -> list[Submission]:
        """Submit jobs in one transaction; an entry may depend on the k-th before it as −k."""
        return self._reach.write(
            "submit_many",
            lambda answers: [Submission(ok, value) for ok, value in answers],
            repeatable=key is not None,
            jobs=_entries(jobs, atomic=atomic),
            key=key,
            atomic=atomic,
        )

    def retry(self, id: int, *, from_failed: bool = False) -> int:
        """Submit a finished job again, as a new job; returns its ID."""
        return self._reach.write("retry", int, id=parse_job_id(id), from_failed=from_failed)

    # Reading

    def job(self, id: int) -> Job:
        """Return a job, live or archived.  Raises JobNotFound."""
        return self._reach.read("job", _to_job, id=parse_job_id(id))

    def jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        statuses: Iterable[JobStatus | str] | None = None,
        archived: bool = False,
    ) -> Iterator[Job]:
        """Yield the jobs of this moment, ascending."""
        asked = None if ids is None else [parse_job_id(job) for job in ids]
        return self._reach.stream(
            "jobs", _to_job, ids=asked, statuses=_listed(statuses), archived=archived
        )

    def count(self, *, statuses: Iterable[JobStatus | str] | None = None) -> int:
        """Return how many live jobs there are (in these statuses)."""
        return self._reach.read("count", int, statuses=_listed(statuses))

    def wait(self, id: int, timeout_s: float | None = None) -> Job:
        """Return the job once it is finalized.  Raises WaitTimeout, JobNotFound."""
        return self._wait_for("wait", lambda found: found.finalized, timeout_s, id)

    def wait_change(self, id: int, lsn: int, timeout_s: float | None = None) -> Job:
        """Return the job once it has changed after `lsn`, or is finalized.  Raises WaitTimeout."""

        def ready(found: Job) -> bool:
            return found.lsn > lsn or found.finalized

        return self._wait_for("wait_change", ready, timeout_s, id, lsn=lsn)

    def _wait_for(
        self,
        method: str,
        ready: Callable[[Job], bool],
        timeout_s: float | None,
        id: int,
        **args: Any,
    ) -> Job:
        job = parse_job_id(id)

        def alone(directory: Unowned) -> Job | None:
            found = directory.job(job)
            return found if ready(found) else None

        return self._reach.wait(method, _to_job, alone, timeout_s, id=job, **args)

    def wait_any(
        self, seen: Mapping[int, tuple[int, Sequence[int]]], timeout_s: float | None = None
    ) -> Job:
        """Return one of up to 100 jobs once it has changed, or is finalized.

        `seen` has for each the LSN that was seen of it, and so many log entries of each opcode:
        the job comes without those.  Raises WaitTimeout, and JobNotFound for any of them.
        """

        def alone(directory: Unowned) -> Job | None:
            for job, (lsn, logged) in seen.items():
                found = directory.job(job)
                if found.lsn > lsn or found.finalized:
                    return found.after(logged)
            return None

        asked = [[job, lsn, list(logged)] for job, (lsn, logged) in seen.items()]
        return self._reach.wait("wait_any", _to_job, alone, timeout_s, seen=asked)

    @property
    def on_absence(self) -> Callable[[], None]:
        """What is called when something is waited for and nobody serves the queue."""
        return self._reach.on_absence

    @on_absence.setter
    def on_absence(self, call: Callable[[], None]) -> None:
        self._reach.on_absence = call

    def wait_idle(self, timeout_s: float | None = None) -> int:
        """Return, once nothing runs or will start by itself, how many jobs are unfinished.

        Raises WaitTimeout, and QueueFailed when jobs are unfinished and nobody serves the queue.
        """
        return self._reach.wait_idle(timeout_s)

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why a job is not running: a list of `{"reason", "text"}`."""
        return self._reach.read("explain", list, id=parse_job_id(id))

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue; `pid` is None without an owner."""
        return self._reach.read("status", dict)

    def metrics(self) -> str:
        """Return the queue's figures as Prometheus text; without an owner, what files show."""
        return self._reach.read("metrics", str)

    def top(self, rows: int = 50) -> dict[str, Any]:
        """Return what the owner is doing, up to `rows` of each; without one as `status`."""
        return self._reach.read("top", dict, rows=rows)

    def drain_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while drained, else None."""
        return self._reach.read("drain_state", _as_flag)

    def pause_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while paused, else None."""
        return self._reach.read("pause_state", _as_flag)

    # Changing

    def cancel(self, id: int, kill: bool = False) -> Outcome:
        """Cancel a job that has not begun, or with `kill` a running one."""
        job = parse_job_id(id)
        return self._reach.write("cancel", _to_outcome, repeatable=True, id=job, kill=kill)

    def change_priority(self, id: int, priority: int) -> Outcome:
        """Change the priority of the opcodes that have not begun."""
        job = parse_job_id(id)
        return self._reach.write(
            "change_priority", _to_outcome, repeatable=True, id=job, priority=priority
        )

    def resolve(self, id: int, *, happened: bool) -> Outcome:
        """Say whether the opcode that was set aside had its effect."""
        return self._reach.write("resolve", _to_outcome, id=parse_job_id(id), happened=happened)

    def archive(self, id: int) -> bool:
        """Move a finalized job to the archive."""
        return self._reach.write("archive", bool, id=parse_job_id(id))

    def auto_archive(self, age_s: float) -> ArchiveCount:
        """Archive all jobs that ended at least `age_s` ago."""
        return self._reach.write(
            "auto_archive", lambda answer: ArchiveCount(*answer), repeatable=True, age_s=age_s
        )

    def drain(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Accept no new jobs."""
        self._reach.write("drain", _nothing, repeatable=True, reason=reason, by=by or _user())

    def undrain(self) -> None:
        """Accept new jobs again."""
        self._reach.write("undrain", _nothing, repeatable=True)

    def pause(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Start no opcode."""
        self._reach.write("pause", _nothing, repeatable=True, reason=reason, by=by or _user())

    def resume(self) -> None:
        """Start opcodes again."""
        self._reach.write("resume", _nothing, repeatable=True)

    def claim(self, op_ids: Sequence[str] | None = None, timeout_s: float = 0) -> OpClaim | None:
        """Take one opcode to execute it here, or return None if none comes in time.

        Needs an owner that listens: a claim outlives the verb.  Raises QueueLocked or QueueFailed.
        """
        from jqueue.daemon.claiming import claim  # noqa: PLC0415 - see the module

        return claim(self._reach, op_ids, timeout_s)

    # The rest

    def close(self) -> None:
        """Let go of the connections."""
        self._reach.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _entries(jobs: Iterable[Iterable[AnyOp]], *, atomic: bool) -> list[Any]:
    if isinstance(jobs, Mapping | str | bytes) or not isinstance(jobs, Iterable):
        raise InvalidJob("a submission is a list of jobs, each a list of opcodes")
    from jqueue.job.parameters import normalize_job  # noqa: PLC0415 - see the module

    entries: list[Any] = []
    for ops in jobs:
        try:
            entries.append(normalize_job(ops))
        except InvalidJob as error:
            if atomic:
                raise
            entries.append({"refused": str(error)})
    return entries


def _listed(statuses: Iterable[JobStatus | str] | None) -> list[str] | None:
    if statuses is None:
        return None
    return [statuses] if isinstance(statuses, str) else [str(status) for status in statuses]


def _to_job(answer: dict[str, Any]) -> Job:
    return Job(answer["document"], archived=answer["archived"])


def _to_outcome(answer: list[Any]) -> Outcome:
    from jqueue.job.transitions import Outcome  # noqa: PLC0415 - see the module

    return Outcome(*answer)


def _as_flag(answer: Any) -> dict[str, Any] | None:
    return answer if isinstance(answer, dict) else None


def _nothing(_answer: Any) -> None:
    return None


def _user() -> str:
    import getpass  # noqa: PLC0415 - see the module

    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return f"uid {os.getuid()}"
