"""One moment of a directory store: consistent while the queue goes on."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from jqueue.job.ids import parse_job_file_name
from jqueue.job.state import Key, is_open
from jqueue.store import jobfiles, opening
from jqueue.store.failed import disk_failed
from jqueue.store.index import has_begun
from jqueue.store.protocol import Lsn

if TYPE_CHECKING:
    from jqueue.store.directory import DirectoryStore


class DirectorySnapshot:
    """The durable state of one moment: what memory knew, and files, but for those changed since."""

    def __init__(self, store: DirectoryStore, lsn: Lsn, values: dict[Key, Any]) -> None:
        self.lsn = lsn
        self._store = store
        self._values = values
        self._before: dict[Key, Any] = {}

    def keep(self, before: dict[Key, Any]) -> None:
        """Learn what a later record replaced, before any file follows it."""
        for key, value in before.items():
            if type(key) is int and key not in self._before:
                self._before[key] = value

    def find(self, key: Key) -> Any:
        """Return the value of `key` at that moment, or None."""
        value = self._values.get(key)
        if type(key) is not int or (value is not None and type(value) is not bytes):
            return value
        if key in self._before:
            return self._before[key]
        entry = self._store.find(key)
        return self._before.get(key, entry)

    def job_ids(self, *, archived: bool = False) -> list[int]:
        """Return the IDs of all live (and archived) jobs, ascending."""
        disk = self._store.disk
        last = self._values.get("serial") or 0
        try:
            names = map(parse_job_file_name, disk.names())
            found: set[int] = {job for job in names if job is not None and job <= last}
            if archived:
                found.update(
                    job for job in jobfiles.archived_ids(disk, self._store.packs) if job <= last
                )
        except OSError as error:
            raise disk_failed(disk.path, error) from error
        for source in (dict(self._before), self._values):
            for key, value in source.items():
                if type(key) is int:
                    opening.list_job(found, key, value, archived=archived)
        return sorted(found)

    def open_ids(self) -> list[int]:
        """Return the IDs of all unfinished jobs, ascending."""
        return list(self.unfinished())

    def begun_ids(self) -> list[int]:
        """Return the IDs of the unfinished jobs that are not queued, ascending."""
        jobs = ((key, value) for key, value in self._values.items() if type(key) is int)
        return sorted(key for key, value in jobs if has_begun(value))

    def unfinished(self) -> Iterator[int]:
        """Yield the IDs of all unfinished jobs, ascending, judging each when it is its turn."""
        for job in sorted(key for key in self._values if type(key) is int):
            value = self._values[job]
            if type(value) is bytes or is_open(value):
                yield job

    def close(self) -> None:
        """Let the store forget the moment."""
        self._store.release(self)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
