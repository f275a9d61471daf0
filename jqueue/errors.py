"""Every error that jqueue raises, in one tree, branching by what the caller can do about it.

    JQueueError
    ├── InvalidJob           mend the job; also a ValueError            (index, field)
    ├── InvalidQuery         mend the filter or field; also a ValueError   (field, position)
    │   └── MalformedQuery       it is no filter at all
    ├── TooLarge             submit less at once                        (size_bytes, limit_bytes)
    ├── JobNotFound          use another id; also a LookupError         (job_id)
    ├── KeyConflict          the key stands for other content           (key, job_id)
    ├── SubmissionMismatch   a re-run submits other jobs than before    (job_id, op_index, call)
    ├── Refused              look again: what it rested on has changed  (precondition)
    ├── QueueDrained         wait for undrain                           (reason)
    ├── QueueFull            wait for room                              (limit)
    ├── DiskFull             make room on the disk                      (path)
    ├── QueueLocked          wait for the owner, or talk to it          (path, holder)
    ├── WaitTimeout          wait again; also a TimeoutError            (timeout_s)
    ├── OutcomeUnknown       reopen, then look whether it happened      (path)
    ├── QueueFailed          reopen the queue                           (path)
    ├── ForkedQueue          open the queue anew in this process        (opened_pid)
    ├── FormatTooNew         install the newer version                  (path, found, supported)
    └── QueueCorrupt         use the offline tools                      (path, offset, lsn)

A message is one line. The facts are attributes, None where unknown. All errors can be pickled, so
that a worker process can hand them to its daemon.
"""

from typing import Any


class JQueueError(Exception):
    """The root of the tree: `str(error)` is one line, the facts are keyword arguments."""

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[JQueueError], args: tuple[Any, ...], facts: dict[str, Any]) -> JQueueError:
    """The error as it was, whatever its constructor asks for."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InvalidJob(JQueueError, ValueError):
    """The job can't be accepted as it is; nothing was changed.

    `index` is the opcode's place in its job and `field` the parameter, where one is to blame.
    """

    def __init__(
        self, message: str = "", *, index: int | None = None, field: str | None = None
    ) -> None:
        super().__init__(message, index=index, field=field)

    index: int | None
    field: str | None

    def at(self, index: int) -> "InvalidJob":
        """The same complaint about the opcode at `index` of its job."""
        return InvalidJob(str(self), index=index, field=self.field)

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.index is None else f"opcode {self.index}: {text}"


class InvalidQuery(JQueueError, ValueError):
    """The filter or the field list can't be answered; nothing was read.

    `field` is the field that is to blame, `position` the place in the filter's text, where known.
    """

    def __init__(
        self, message: str = "", *, field: str | None = None, position: int | None = None
    ) -> None:
        super().__init__(message, field=field, position=position)

    field: str | None
    position: int | None


class MalformedQuery(InvalidQuery):
    """The filter has not the form of one: an unknown operator, a wrong number of arguments."""


class TooLarge(JQueueError):
    """What was handed in is larger than one record may be; nothing was changed."""

    def __init__(
        self, message: str = "", *, size_bytes: int | None = None, limit_bytes: int | None = None
    ) -> None:
        super().__init__(message, size_bytes=size_bytes, limit_bytes=limit_bytes)

    size_bytes: int | None
    limit_bytes: int | None


class JobNotFound(JQueueError, LookupError):
    """No job of this id, live or archived."""

    def __init__(self, message: str = "", *, job_id: int | None = None) -> None:
        super().__init__(message, job_id=job_id)

    job_id: int | None


class KeyConflict(JQueueError):
    """The key was used before, for a request with other content; nothing was submitted."""

    def __init__(
        self, message: str = "", *, key: str | None = None, job_id: int | None = None
    ) -> None:
        super().__init__(message, key=key, job_id=job_id)

    key: str | None
    job_id: int | None


class SubmissionMismatch(JQueueError):
    """A re-run of a logical unit submits other jobs under the same call; nothing was submitted."""

    def __init__(
        self,
        message: str = "",
        *,
        job_id: int | None = None,
        op_index: int | None = None,
        call: str | None = None,
    ) -> None:
        super().__init__(message, job_id=job_id, op_index=op_index, call=call)

    job_id: int | None
    op_index: int | None
    call: str | None


class Refused(JQueueError):
    """A precondition of the transaction no longer holds; nothing was changed."""

    def __init__(self, message: str = "", *, precondition: Any = None) -> None:
        super().__init__(message, precondition=precondition)

    precondition: Any


class QueueDrained(JQueueError):
    """The queue accepts no submissions until `undrain`."""

    def __init__(self, message: str = "", *, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)

    reason: str | None


class QueueFull(JQueueError):
    """The queue holds as many live jobs as it may."""

    def __init__(self, message: str = "", *, limit: int | None = None) -> None:
        super().__init__(message, limit=limit)

    limit: int | None


class _AboutPath(JQueueError):
    """Shared by the errors about a place on the disk."""

    def __init__(self, message: str = "", *, path: str | None = None) -> None:
        super().__init__(message, path=path)

    path: str | None


class DiskFull(_AboutPath):
    """The disk has no room for new jobs; finishing and canceling still work."""


class QueueFailed(_AboutPath):
    """The queue has stopped after a failure of the disk; reopen it to go on."""


class OutcomeUnknown(_AboutPath):
    """The disk failed while the change was on its way: it may have happened, or not."""


class QueueLocked(JQueueError):
    """Another process owns the queue."""

    def __init__(self, message: str = "", *, path: str | None = None, holder: Any = None) -> None:
        super().__init__(message, path=path, holder=holder)

    path: str | None
    holder: Any


class WaitTimeout(JQueueError, TimeoutError):
    """What was waited for didn't happen in time; nothing was changed by waiting."""

    def __init__(self, message: str = "", *, timeout_s: float | None = None) -> None:
        super().__init__(message, timeout_s=timeout_s)

    timeout_s: float | None


class ForkedQueue(JQueueError):
    """This queue object was opened by the parent of this process."""

    def __init__(self, message: str = "", *, opened_pid: int | None = None) -> None:
        super().__init__(message, opened_pid=opened_pid)

    opened_pid: int | None


class FormatTooNew(JQueueError):
    """The directory was written by a later format; nothing was touched."""

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        found: int | None = None,
        supported: int | None = None,
    ) -> None:
        super().__init__(message, path=path, found=found, supported=supported)

    path: str | None
    found: int | None
    supported: int | None


class QueueCorrupt(JQueueError):
    """Bytes that were acknowledged as durable are damaged; nothing was touched or skipped."""

    def __init__(
        self,
        message: str = "",
        *,
        path: str | None = None,
        offset: int | None = None,
        lsn: int | None = None,
    ) -> None:
        super().__init__(message, path=path, offset=offset, lsn=lsn)

    path: str | None
    offset: int | None
    lsn: int | None


__all__ = [
    "DiskFull",
    "ForkedQueue",
    "FormatTooNew",
    "InvalidJob",
    "InvalidQuery",
    "JQueueError",
    "JobNotFound",
    "KeyConflict",
    "MalformedQuery",
    "OutcomeUnknown",
    "QueueCorrupt",
    "QueueDrained",
    "QueueFailed",
    "QueueFull",
    "QueueLocked",
    "Refused",
    "SubmissionMismatch",
    "TooLarge",
    "WaitTimeout",
]
