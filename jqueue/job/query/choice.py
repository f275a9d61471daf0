"""Which jobs are meant: by status, by when something last happened to them, by a filter."""

from __future__ import annotations

from typing import NamedTuple

from jqueue.job.query.filters import Filter
from jqueue.job.snapshot import Job


class Choice(NamedTuple):
    """What was said about the jobs that are meant, beside their IDs.  It can be pickled."""

    statuses: tuple[str, ...] = ()
    since: float | None = None
    """A Unix time: what was received, started or ended then or later."""
    filter: Filter | None = None

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self != Choice()

    @property
    def names_archived(self) -> bool:
        """Whether the filter asks for archived jobs."""
        return self.filter is not None and self.filter.names_archived

    @property
    def ids(self) -> tuple[int, ...] | None:
        """The IDs that are asked for if the filter is only a choice of IDs, else None."""
        return None if self.filter is None else self.filter.ids

    def matches(self, job: Job) -> bool:
        """Whether the job is meant."""
        if self.statuses and job.status not in self.statuses:
            return False
        if self.since is not None and not _moved_since(job, self.since):
            return False
        return self.filter is None or self.filter.matches(job.document, job.archived)


def _moved_since(job: Job, since: float) -> bool:
    times = (job.document[name] for name in _TIMES)
    return any(time is not None and time[0] + time[1] / 1_000_000 >= since for time in times)


_TIMES = ("received_timestamp", "start_timestamp", "end_timestamp")
