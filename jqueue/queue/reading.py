"""Reading verbs over one moment of a queue, with or without an owner.

`Reader` needs nothing but a way to get a `Snapshot`: the owner's store, or the offline reader.
"""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from jqueue.errors import InvalidJob, JobNotFound
from jqueue.job.ids import parse_job_id
from jqueue.job.snapshot import Job
from jqueue.job.state import Entry, Place
from jqueue.job.status import OPEN, JobStatus, calc_status, parse_status
from jqueue.queue.explain import explain
from jqueue.store.protocol import Snapshot


class Reader:
    """The reading verbs; each takes one snapshot, so its answer is of one moment."""

    def __init__(self, snapshot: Callable[[], Snapshot], now_ns: Callable[[], int]) -> None:
        self._snapshot = snapshot
        self._now_ns = now_ns

    def job(self, id: int) -> Job:
        """Return a job, live or archived.  Raises JobNotFound."""
        job = parse_job_id(id)
        with self._snapshot() as moment:
            return job_of(moment.find(job), job)

    def jobs(
        self,
        *,
        ids: Iterable[int] | None = None,
        statuses: Iterable[JobStatus | str] | None = None,
        archived: bool = False,
    ) -> Iterator[Job]:
        """Yield the jobs of this moment, ascending, reading each when it is its turn.

        Jobs that are not there, or can't be read, are left out.
        """
        wanted = parse_statuses(statuses)
        asked = None if ids is None else sorted({parse_job_id(job) for job in ids})
        return _Jobs(self._snapshot(), asked, wanted, archived)

    def count(self, *, statuses: Iterable[JobStatus | str] | None = None) -> int:
        """Return how many live jobs there are, in these statuses."""
        with self._snapshot() as moment:
            return sum(counts(moment.find, parse_statuses(statuses)).values())

    def drain_state(self) -> dict[str, Any] | None:
        """Return what is known of the drain, None if the queue is open."""
        return self._flag("drain")

    def pause_state(self) -> dict[str, Any] | None:
        """Return what is known of the pause, None if opcodes start."""
        return self._flag("pause")

    def explain(self, id: int) -> list[dict[str, Any]]:
        """Say why the job is not running: a list of `{"reason", "text"}`.  Raises JobNotFound."""
        job = parse_job_id(id)
        with self._snapshot() as moment:
            document = job_of(moment.find(job), job).to_dict()
            return explain(moment, document, self._now_ns())

    def status(self) -> dict[str, Any]:
        """Return what there is to say about the queue as a whole, at one moment."""
        with self._snapshot() as moment:
            found = {"lsn": moment.lsn, **overall(moment.find)}
            queued = found["counts"][JobStatus.QUEUED.value]
            return {**found, "oldest_queued": _oldest_queued(moment) if queued else None}

    def _flag(self, key: str) -> dict[str, Any] | None:
        with self._snapshot() as moment:
            return as_flag(moment.find(key))


def finished_ids(moment: Snapshot) -> list[int]:
    """The IDs of the live jobs that have ended, ascending."""
    unfinished = set(moment.open_ids())
    return [job for job in moment.job_ids() if job not in unfinished]


def _oldest_queued(moment: Snapshot) -> float | None:
    """When the oldest of the queued jobs was submitted, in Unix seconds: IDs rise with that."""
    for job in moment.unfinished():
        entry: Entry | None = moment.find(job)
        document = None if entry is None else entry.document
        if document is not None and calc_status(document["ops"]) is JobStatus.QUEUED:
            received = Job(document).received
            return None if received is None else received.timestamp()
    return None


def as_flag(value: Any) -> dict[str, Any] | None:
    """What a set flag says, complete (Ganeti's drain file is empty); None if it isn't set."""
    if value is None:
        return None
    return {"reason": None, "by": None, "since": None, **value}


def overall(find: Callable[[str], Any]) -> dict[str, Any]:
    """What there is to say about the queue as a whole."""
    counted = counts(find)
    return {
        "serial": find("serial") or 0,
        "jobs": sum(counted.values()),
        "counts": {status.value: number for status, number in counted.items()},
        "drain": as_flag(find("drain")),
        "pause": as_flag(find("pause")),
    }


def counts(
    find: Callable[[str], Any], statuses: Iterable[JobStatus] | None = None
) -> dict[JobStatus, int]:
    """The number of live jobs in each of the statuses (None: all), from the state's own counts."""
    wanted = JobStatus if statuses is None else statuses
    return {status: find(f"count/{status}") or 0 for status in wanted}


def parse_statuses(statuses: Iterable[JobStatus | str] | None) -> frozenset[JobStatus] | None:
    """The statuses asked for, None for all.  Raises InvalidJob."""
    if statuses is None:
        return None
    if isinstance(statuses, str):
        statuses = [statuses]
    parsed = set()
    for given in statuses:
        status = parse_status(given)
        if status is None:
            known = ", ".join(JobStatus)
            raise InvalidJob(f"status must be one of {known}, not {given!r:.80}", field="statuses")
        parsed.add(status)
    return frozenset(parsed)


def job_of(entry: Entry | None, job: int) -> Job:
    """The job that an entry of the state is.  Raises JobNotFound."""
    if entry is None or entry.document is None:
        damaged = entry is not None and entry.place is Place.QUARANTINE
        why = f"the file of job {job} is damaged, see quarantine/" if damaged else f"no job {job}"
        raise JobNotFound(why, job_id=job)
    return Job(entry.document, archived=entry.place is Place.ARCHIVE)


class _Jobs(Iterator[Job]):
    """The jobs of one moment, which it holds until the last one is read, or it is dropped."""

    def __init__(
        self,
        moment: Snapshot,
        ids: list[Any] | None,
        statuses: frozenset[JobStatus] | None,
        archived: bool,
    ) -> None:
        self._moment: Snapshot | None = moment
        self._places = (Place.LIVE, Place.ARCHIVE) if archived else (Place.LIVE,)
        self._statuses = statuses
        self._asked = ids
        self._ids: Iterator[int] | None = None

    def _listed(self, moment: Snapshot) -> Iterator[int]:
        """The IDs to look at: all jobs are listed by who reads the first, not by who asks."""
        if self._asked is not None:
            return iter(self._asked)
        statuses = self._statuses
        if statuses is None or not statuses <= OPEN:
            return iter(moment.job_ids(archived=Place.ARCHIVE in self._places))
        return iter(moment.open_ids() if JobStatus.QUEUED in statuses else moment.begun_ids())

    def __next__(self) -> Job:
        moment = self._moment
        if moment is None:
            raise StopIteration
        if self._ids is None:
            self._ids = self._listed(moment)
        for job in self._ids:
            entry: Entry | None = moment.find(job)
            if entry is None or entry.document is None or entry.place not in self._places:
                continue
            if self._statuses is not None:
                status = calc_status(entry.document["ops"])
                if status not in self._statuses:
                    continue
            return Job(entry.document, archived=entry.place is Place.ARCHIVE)
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Let go of the moment."""
        if self._moment is not None:
            self._moment.close()
            self._moment = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_moment", None) is not None:
            self.close()
