"""What a logical unit knows of its execution, and what it may say and ask for meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

from jqueue.errors import InvalidJob
from jqueue.job import jsonio
from jqueue.job.document import timestamp
from jqueue.job.jsonio import check_storable
from jqueue.job.parameters import normalize_job
from jqueue.queue.protocol import Submission

MESSAGE: Final = "message"
MAX_MESSAGE_CHARS: Final = 1 << 20
"""One log entry: more belongs into a file that the log names."""

MAX_DATA_BYTES: Final = 4 << 20
"""The same for data that is no text, as JSON."""


class Line(Protocol):
    """The way to the queue's owner, from where a unit runs."""

    def feedback(self, entries: list[list[Any]]) -> None:
        """Pass on log entries `[time, type, message]`, in order, before the result."""

    def progress(self, value: dict[str, Any]) -> None:
        """Pass on the newest progress; only the last of many need arrive."""

    def submit(self, call: str, jobs: list[Any]) -> list[list[Any]]:
        """Submit jobs and return `[[ok, value], …]` once that is durable."""


class _EndedLine:
    """The way of a unit that has returned: there is none."""

    def feedback(self, entries: list[list[Any]]) -> NoReturn:
        raise RuntimeError(f"the opcode has ended, and takes no log entry: {entries!r:.200}")

    def progress(self, value: dict[str, Any]) -> NoReturn:
        raise RuntimeError(f"the opcode has ended, and has no progress: {value!r:.200}")

    def submit(self, call: str, jobs: list[Any]) -> NoReturn:
        raise RuntimeError(f"the opcode has ended, and submits no {len(jobs)} jobs (call {call})")


ENDED: Final[Line] = _EndedLine()


@dataclass(slots=True)
class Context:
    """One execution of one opcode; units get it as their second argument.  Thread-safe."""

    job_id: int
    op_index: int
    attempt: int
    priority: int
    line: Line = field(repr=False)
    cancel_requested: bool = False
    """Set once somebody wants the job killed: end soon, the process is killed after a grace."""
    livelock_fd: int | None = field(default=None, repr=False)
    """Pass it on to processes of your own that must end before the opcode counts as ended."""
    _calls: int = field(default=0, repr=False)

    def feedback(self, *arguments: Any) -> None:
        """Add to the log: `feedback(text)`, or `feedback(type, data)`."""
        if len(arguments) == 1:
            kind, data = MESSAGE, arguments[0]
        elif len(arguments) == 2:  # noqa: PLR2004 - type and data
            kind, data = arguments
        else:
            raise TypeError(
                f"feedback takes a text, or a type and data, not {len(arguments)} arguments"
            )
        if not isinstance(kind, str):
            raise TypeError(f"the type of a log entry is text, not {kind!r:.80}")
        if isinstance(data, str):
            data = data[:MAX_MESSAGE_CHARS].encode(errors="backslashreplace").decode()
        else:
            data = check_storable(data)
            if len(jsonio.dumps(data)) > MAX_DATA_BYTES:
                raise InvalidJob(f"the data of a log entry has at most {MAX_DATA_BYTES} bytes")
        self.line.feedback([[timestamp(time.time_ns()), kind, data]])

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Say how far it is: `progress(3, 10, "copying disk 3")`."""
        self.line.progress(check_storable({"done": done, "total": total, "text": text}))

    def submit_many_jobs(self, jobs: Iterable[Any], name: str | None = None) -> list[Submission]:
        """Submit jobs now; return for each `Submission(True, id)` or `Submission(False, why)`.

        The same call in a later run of this opcode (its `name`, or else that it is the n-th one)
        returns the first answer and submits nothing.  Raises `SubmissionMismatch` if it then comes
        with other jobs.
        """
        if name is None:
            self._calls += 1
            call = str(self._calls)
        elif not isinstance(name, str) or not name or name.isdecimal():
            raise InvalidJob(
                f"the name of a submission is a text other than a number, not {name!r:.80}"
            )
        else:
            call = name
        answers = self.line.submit(call, to_inputs(jobs))
        return [Submission(ok, value) for ok, value in answers]

    def wait(self, *_arguments: Any, **_named: Any) -> NoReturn:
        """Refuse: a unit that waits for a job keeps a worker from it, and can wait for ever."""
        raise RuntimeError(
            "a logical unit can't wait for another job:"
            " let a later opcode or job depend on it (depends)"
        )


def to_inputs(jobs: Iterable[Any]) -> list[Any]:
    """Return jobs as plain data; one that can't be a job becomes text that says why.

    The owner checks entries anew, so that what is refused is refused there and remembered.
    """
    return [_to_input(job) for job in jobs]


def _to_input(job: Any) -> Any:
    try:
        return normalize_job(job)
    except InvalidJob as error:
        return {"refused": str(error)}


def call_refused(what: str) -> Callable[..., NoReturn]:
    """Return a function that refuses to do `what` inside a logical unit."""

    def refuse(*_arguments: Any, **_named: Any) -> NoReturn:
        raise RuntimeError(f"{what} is not possible inside a logical unit")

    return refuse
