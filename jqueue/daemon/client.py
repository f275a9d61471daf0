"""`connect`: a queue that another process owns, or nobody at the moment.

A writing verb tries the owner's socket, then the queue's lock, in turn, until one of them answers
or the time is over.  With the lock it opens the queue for that one verb.  A reading verb without an
owner reads the directory; waiting holds no lock.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from jqueue.daemon.calls import Lost, NoOwner, Wire
from jqueue.daemon.jobqueue import JobQueue
from jqueue.errors import (
    ForkedQueue,
    InvalidJob,
    OutcomeUnknown,
    QueueFailed,
    QueueLocked,
    WaitTimeout,
)
from jqueue.execution.claim import OpClaim
from jqueue.job.ids import parse_job_id
from jqueue.job.parameters import normalize_job
from jqueue.job.snapshot import Job
from jqueue.job.status import JobStatus
from jqueue.job.transitions import Outcome
from jqueue.queue.clock import SystemClock
from jqueue.queue.explain import without_owner
from jqueue.queue.protocol import AnyOp, ArchiveCount, Submission
from jqueue.queue.reading import Reader
from jqueue.store import condition, livelock
from jqueue.store.offline import OfflineQueue

T = TypeVar("T")

RETRY_FIRST_S: Final = 0.01
RETRY_MAX_S: Final = 0.25
"""Between two tries of socket and lock."""
_CREATING: Final = frozenset({"submit", "submit_many", "drain", "pause"})
"""Verbs that mean something to a queue that isn't there yet."""
QUEUE_VARIABLE: Final = "JQUEUE_DIR"


def default_path() -> str:
    """Return the queue that is meant when none is named."""
    named = os.environ.get(QUEUE_VARIABLE)
    if named:
        return named
    if os.geteuid() == 0:
        return "/var/lib/jqueue"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "jqueue")


def connect(path: str | os.PathLike[str] | None = None, *, timeout_s: float = 10) -> Client:
    """Return a client of the queue at `path`; nothing is opened or made yet.

    `timeout_s` is how long each verb tries to reach an owner, or to become one for a moment.
    """
    return Client(default_path() if path is None else os.fspath(path), timeout_s)


class Client:
    """A queue by its path: `queue.Queue` without owning it.  Thread-safe."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self._wire = Wire(path)
        self._without = Reader(lambda: OfflineQueue(path), SystemClock().now_ns)
        self._opened_pid = os.getpid()

    # How a verb gets its answer

    def _write(
        self,
        method: str,
        alone: Callable[[JobQueue], T],
        shape: Callable[[Any], T],
        *,
        repeatable: bool = False,
        **args: Any,
    ) -> T:
        """Ask the owner, or become it for this one verb.

        `repeatable`: asked again it changes nothing more, so a connection that broke is no matter.
        """
        self._check_fork()
        end_s = time.monotonic() + self.timeout_s
        delay_s = RETRY_FIRST_S
        while True:
            try:
                return shape(self._wire.call(method, args))
            except NoOwner:
                pass
            except Lost as error:
                if not repeatable:
                    raise OutcomeUnknown(
                        f"{self.path}: the connection to the queue's owner broke before its answer;"
                        f" whether {method} happened is not known, look before you repeat it",
                        path=self.path,
                    ) from error
            try:
                with JobQueue.open(self.path, create=method in _CREATING) as queue:
                    return alone(queue)
            except QueueLocked:
                # Somebody owns it without listening yet, or for one verb of its own.
                if time.monotonic() >= end_s:
                    raise
            time.sleep(min(delay_s, max(end_s - time.monotonic(), 0.0)))
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    def _read(
        self, method: str, alone: Callable[[Reader], T], shape: Callable[[Any], T], **args: Any
    ) -> T:
        """Ask the owner, or read the directory."""
        self._check_fork()
        for _ in range(2):
            try:
                return shape(self._wire.call(method, args))
            except NoOwner:
                return alone(self._without)
            except Lost:
                continue
        return alone(self._without)

    def _check_fork(self) -> None:
        if os.getpid() != self._opened_pid:
            raise ForkedQueue(
                f"the client was made by process {self._opened_pid}; connect anew here",
                opened_pid=self._opened_pid,
            )

    @property
    def has_owner(self) -> bool:
        """Whether some process serves this queue now."""
        try:
            self._wire.call("drain_state", {})
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
        inputs = normalize_job(ops)
        return self._write(
            "submit",
            lambda queue: queue.submit(inputs, key=key, unique=unique, despite_drain=despite_drain),
            int,
            repeatable=key is not None,
            ops=inputs,
            key=key,
            unique=unique,
            despite_drain=despite_drain,
        )

    def submit_many(
        self, jobs: Iterable[Iterable[AnyOp]], *, key: str | None = None, atomic: bool = False
    ) -> list[Submission]:
        """Submit jobs in one transaction; an entry may depend on the k-th before it as −k."""
        entries = _entries(jobs, atomic=atomic)
        return self._write(
            "submit_many",
            lambda queue: queue.submit_many(entries, key=key, atomic=atomic),
            lambda answers: [Submission(ok, value) for ok, value in answers],
            repeatable=key is not None,
            jobs=entries,
            key=key,
            atomic=atomic,
        )

    def retry(self, id: int, *, from_failed: bool = False) -> int:
        """Submit a finished job again, as a new job; returns its ID."""
        job = parse_job_id(id)
        return self._write(
            "retry",
            lambda queue: queue.retry(job, from_failed=from_failed),
            int,
            id=job,
            from_failed=from_failed,
        )

    # Reading

    def job(self, id: int) -> Job:
        """Return a job, live or archived.  Raises JobNotFound."""
        job = parse_job_id(id)
        return self._read("job", lambda offline: offline.job(job), _to_job, id=job)

    def jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        statuses: Iterable[JobStatus | str] | None = None,
        archived: bool = False,
    ) -> Iterator[Job]:
        """Yield the jobs of this moment, ascending."""
        self._check_fork()
        asked = None if ids is None else [parse_job_id(job) for job in ids]
        wanted = None if statuses is None else [str(status) for status in _listed(statuses)]
        args = {"ids": asked, "statuses": wanted, "archived": archived}
        try:
            yield from map(_to_job, self._wire.stream("jobs", args))
        except NoOwner:
            yield from self._without.jobs(ids=asked, statuses=wanted, archived=archived)
        except Lost as error:
            raise QueueFailed(
                f"{self.path}: the connection to the queue's owner broke while listing; list again",
                path=self.path,
            ) from error

    def count(self, *, statuses: Iterable[JobStatus | str] | None = None) -> int:
        """Return how many live jobs there are (in these statuses)."""
        wanted = None if statuses is None else [str(status) for status in _listed(statuses)]
        return self._read(
            "count", lambda offline: offline.count(statuses=wanted), int, statuses=wanted
        )

    def wait(self, id: int, timeout_s: float | None = None) -> Job:
        """Return the job once it is finalized.  Raises WaitTimeout, JobNotFound."""
        job = parse_job_id(id)
        return self._wait("wait", job, timeout_s, lambda found: found.finalized, {})

    def wait_change(self, id: int, lsn: int, timeout_s: float | None = None) -> Job:
        """Return the job once it has changed after `lsn`, or is finalized.  Raises WaitTimeout."""
        job = parse_job_id(id)
        args = {"lsn": lsn}
        return self._wait(
            "wait_change", job, timeout_s, lambda found: found.lsn > lsn or found.finalized, args
        )

    def _wait(
        self,
        method: str,
        job: int,
        timeout_s: float | None,
        ready: Callable[[Job], bool],
        more: dict[str, Any],
    ) -> Job:
        """Let the owner say when; without one, look at the directory now and then."""
        self._check_fork()
        end_s = None if timeout_s is None else time.monotonic() + max(timeout_s, 0.0)
        delay_s = RETRY_FIRST_S
        while True:
            left_s = None if end_s is None else max(end_s - time.monotonic(), 0.0)
            args = {"id": job, "timeout_s": left_s, **more}
            try:
                return _to_job(self._wire.call(method, args))
            except Lost:
                continue
            except NoOwner:
                found = self._without.job(job)
            if ready(found):
                return found
            if left_s is not None and left_s <= 0:
                raise WaitTimeout(
                    f"job {job}: nothing that was waited for within {timeout_s:g} s",
                    timeout_s=timeout_s,
                )
            time.sleep(delay_s if left_s is None else min(delay_s, left_s))
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why a job is not running: a list of `{"reason", "text"}`."""
        job = parse_job_id(id)
        return self._read(
            "explain", lambda offline: without_owner(offline.explain(job)), list, id=job
        )

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue; `pid` is None without an owner."""
        return self._read("status", lambda _: self._status_alone(), dict)

    def _status_alone(self) -> dict[str, Any]:
        return {**self._without.status(), **condition.place(self.path), "pid": None}

    def metrics(self) -> str:
        """Return the queue's figures as Prometheus text; without an owner, what files show."""
        return self._read("metrics", lambda _: self._metrics_alone(), str)

    def _metrics_alone(self) -> str:
        from jqueue.daemon import metrics  # noqa: PLC0415 - few ask for them, and it takes a while

        return metrics.text(metrics.registry(self._status_alone, of_process=False))

    def top(self, rows: int = 50) -> dict[str, Any]:
        """Return what the owner is doing, up to `rows` of each; without one as `status`."""
        return self._read("top", lambda offline: {**offline.status(), "pid": None}, dict, rows=rows)

    def drain_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while drained, else None."""
        return self._read("drain_state", lambda offline: offline.drain_state(), _as_flag)

    def pause_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while paused, else None."""
        return self._read("pause_state", lambda offline: offline.pause_state(), _as_flag)

    # Changing

    def cancel(self, id: int, kill: bool = False) -> Outcome:
        """Cancel a job that has not begun, or with `kill` a running one."""
        job = parse_job_id(id)
        return self._write(
            "cancel",
            lambda queue: queue.cancel(job, kill),
            lambda answer: Outcome(*answer),
            repeatable=True,
            id=job,
            kill=kill,
        )

    def change_priority(self, id: int, priority: int) -> Outcome:
        """Change the priority of the opcodes that have not begun."""
        job = parse_job_id(id)
        return self._write(
            "change_priority",
            lambda queue: queue.change_priority(job, priority),
            lambda answer: Outcome(*answer),
            repeatable=True,
            id=job,
            priority=priority,
        )

    def resolve(self, id: int, *, happened: bool) -> Outcome:
        """Say whether the opcode that was set aside had its effect."""
        job = parse_job_id(id)
        return self._write(
            "resolve",
            lambda queue: queue.resolve(job, happened=happened),
            lambda answer: Outcome(*answer),
            id=job,
            happened=happened,
        )

    def archive(self, id: int) -> bool:
        """Move a finalized job to the archive."""
        job = parse_job_id(id)
        return self._write("archive", lambda queue: queue.archive(job), bool, id=job)

    def auto_archive(self, age_s: float) -> ArchiveCount:
        """Archive all jobs that ended at least `age_s` ago."""
        return self._write(
            "auto_archive",
            lambda queue: queue.auto_archive(age_s),
            lambda answer: ArchiveCount(*answer),
            repeatable=True,
            age_s=age_s,
        )

    def drain(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Accept no new jobs."""
        who = by or _user()
        self._write(
            "drain",
            lambda queue: queue.drain(reason, by=who),
            _nothing,
            repeatable=True,
            reason=reason,
            by=who,
        )

    def undrain(self) -> None:
        """Accept new jobs again."""
        self._write("undrain", lambda queue: queue.undrain(), _nothing, repeatable=True)

    def pause(self, reason: str | None = None, *, by: str | None = None) -> None:
        """Start no opcode."""
        who = by or _user()
        self._write(
            "pause",
            lambda queue: queue.pause(reason, by=who),
            _nothing,
            repeatable=True,
            reason=reason,
            by=who,
        )

    def resume(self) -> None:
        """Start opcodes again."""
        self._write("resume", lambda queue: queue.resume(), _nothing, repeatable=True)

    # Claiming

    def claim(self, op_ids: Sequence[str] | None = None, timeout_s: float = 0) -> OpClaim | None:
        """Take one opcode to execute it here, or return None if none comes in time.

        Needs an owner that listens: a claim outlives the verb.  Raises QueueLocked or QueueFailed.
        """
        self._check_fork()
        queue_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held = livelock.take(queue_fd, "claim")

        def let_go() -> None:
            livelock.release(queue_fd, held)
            os.close(queue_fd)

        try:
            answer = self._claim(held, op_ids, timeout_s)
        except BaseException:
            let_go()
            raise
        if answer is None:
            let_go()
            return None
        return OpClaim(
            self, answer["document"], answer["op_index"], answer["token"], answer["attempt"], let_go
        )

    def _claim(
        self, held: livelock.Livelock, op_ids: Sequence[str] | None, timeout_s: float
    ) -> dict[str, Any] | None:
        end_s = time.monotonic() + timeout_s
        reach_s = time.monotonic() + self.timeout_s
        while True:
            args = {
                "livelock_name": held.name,
                "inode": held.inode,
                "op_ids": None if op_ids is None else list(op_ids),
                "timeout_s": max(end_s - time.monotonic(), 0.0),
            }
            try:
                answer: dict[str, Any] | None = self._wire.call("claim", args)
            except (NoOwner, Lost) as error:
                if time.monotonic() >= reach_s:
                    raise QueueFailed(
                        f"{self.path}: nobody serves this queue; start jqueue daemon, or open it",
                        path=self.path,
                    ) from error
                time.sleep(RETRY_FIRST_S)
            else:
                return answer

    def _claimed(self, method: str, **args: Any) -> None:
        """One of a claim's messages: repeated until an owner answers, for the token tells them."""
        self._write(
            method, lambda queue: getattr(queue, method)(**args), _nothing, repeatable=True, **args
        )

    def claim_log(self, job: int, op: int, token: int, entries: list[Any]) -> None:
        """Add log entries, for a claim."""
        self._claimed("claim_log", job=job, op=op, token=token, entries=entries)

    def claim_progress(self, job: int, op: int, token: int, value: Any) -> None:
        """Record progress, for a claim."""
        self._claimed("claim_progress", job=job, op=op, token=token, value=value)

    def claim_finish(
        self,
        job: int,
        op: int,
        token: int,
        ok: bool,
        result: Any,
        children: list[Any] | None,
        on_refusal: str,
    ) -> None:
        """End the opcode, for a claim."""
        self._claimed(
            "claim_finish",
            job=job,
            op=op,
            token=token,
            ok=ok,
            result=result,
            children=children,
            on_refusal=on_refusal,
        )

    def claim_release(self, job: int, op: int, token: int) -> None:
        """Give the opcode back, for a claim."""
        self._claimed("claim_release", job=job, op=op, token=token)

    # The rest

    def close(self) -> None:
        """Let go of the connections."""
        self._wire.close()

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
    entries: list[Any] = []
    for ops in jobs:
        try:
            entries.append(normalize_job(ops))
        except InvalidJob as error:
            if atomic:
                raise
            entries.append({"refused": str(error)})
    return entries


def _listed(statuses: Iterable[JobStatus | str]) -> list[JobStatus | str]:
    return [statuses] if isinstance(statuses, str) else list(statuses)


def _to_job(answer: dict[str, Any]) -> Job:
    return Job(answer["document"], archived=answer["archived"])


def _as_flag(answer: Any) -> dict[str, Any] | None:
    return answer if isinstance(answer, dict) else None


def _nothing(_answer: Any) -> None:
    return None


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return f"uid {os.getuid()}"


__all__ = ["Client", "connect", "default_path"]
