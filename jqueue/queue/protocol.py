"""What a user of a queue can ask for: the same verbs on an open queue and on a client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from jqueue.job.opcode import OpCode
    from jqueue.job.snapshot import Job
    from jqueue.job.status import JobStatus
    from jqueue.job.transitions import Outcome

AnyOp: TypeAlias = "OpCode | Mapping[str, Any]"
"""An opcode as a value, or as a plain object with its OP_ID."""


class Submission(NamedTuple):
    """What became of one entry: `(True, id)` or `(False, "why")`."""

    ok: bool
    value: int | str

    def __bool__(self) -> bool:
        return self.ok


class ArchiveCount(NamedTuple):
    """How many jobs were archived, and how many were not looked at (for want of time)."""

    archived: int
    remaining: int


class Claim(Protocol):
    """One opcode, running under the caller's livelock until it is finished or given back."""

    @property
    def job(self) -> Job:
        """The job, as it was when the opcode was claimed."""

    @property
    def op(self) -> Any:
        """The claimed opcode."""

    @property
    def attempt(self) -> int:
        """1 at the first execution of the opcode."""

    def feedback(self, message: str) -> None:
        """Add a line to the opcode's log."""

    def progress(self, value: Any) -> None:
        """Say how far it is."""

    def finish(self, result: Any = None) -> None:
        """End the opcode with success."""

    def fail(self, error: BaseException | str) -> None:
        """End the opcode with an error; it is tried again if it has retries left."""

    def release(self) -> None:
        """Give it back, as if it had not been claimed."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back if it is not finished; an exception fails it."""


class Queue(Protocol):
    """A job queue.  Synchronous, thread-safe; whatever writes returns when it is durable."""

    def submit(
        self, ops: Iterable[AnyOp], *, key: str | None = None, unique: str | None = None
    ) -> int:
        """Submit a job and return its ID."""

    def submit_many(
        self, jobs: Iterable[Iterable[AnyOp]], *, key: str | None = None, atomic: bool = False
    ) -> list[Submission]:
        """Submit jobs in one transaction; an entry may depend on the k-th before it as −k."""

    def job(self, id: int) -> Job:
        """Return a job, live or archived."""

    def jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        statuses: Iterable[JobStatus | str] | None = None,
        archived: bool = False,
    ) -> Iterator[Job]:
        """Yield the jobs of this moment, ascending."""

    def count(self, *, statuses: Iterable[JobStatus | str] | None = None) -> int:
        """Return how many live jobs there are (in these statuses)."""

    def wait(self, id: int, timeout_s: float | None = None) -> Job:
        """Return the job once it is finalized."""

    def cancel(self, id: int, kill: bool = False) -> Outcome:
        """Cancel a job that has not begun, or with `kill` a running one."""

    def change_priority(self, id: int, priority: int) -> Outcome:
        """Change the priority of the opcodes that have not begun."""

    def retry(self, id: int, *, from_failed: bool = False) -> int:
        """Submit a finished job again, as a new job; returns its ID."""

    def resolve(self, id: int, *, happened: bool) -> Outcome:
        """Say whether the opcode that was set aside had its effect."""

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why a job is not running: a list of `{"reason", "text"}`."""

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue as a whole."""

    def archive(self, id: int) -> bool:
        """Move a finalized job to the archive."""

    def auto_archive(self, age_s: float) -> ArchiveCount:
        """Archive all jobs that ended at least `age_s` ago."""

    def drain(self, reason: str | None = None) -> None:
        """Accept no new jobs."""

    def undrain(self) -> None:
        """Accept new jobs again."""

    def drain_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while drained, else None."""

    def pause(self, reason: str | None = None) -> None:
        """Start no opcode."""

    def resume(self) -> None:
        """Start opcodes again."""

    def pause_state(self) -> dict[str, Any] | None:
        """Return `{"reason", "by", "since"}` while paused, else None."""

    def claim(self, op_ids: Sequence[str] | None = None, timeout_s: float = 0) -> Claim | None:
        """Take one opcode to execute it here, or return None if none comes in time."""

    def close(self) -> None:
        """Make everything durable and let go."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
