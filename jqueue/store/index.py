"""The open-jobs index: what makes opening cost the tail, not the number of jobs.

Derived from the state and never the only copy of anything: missing, damaged or stale, it is rebuilt
by a scan of the job files.  It holds the unfinished jobs in claim order and every value that is not
a job's document, as of one LSN.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import orjson

from jqueue.job.state import Key, is_open, live_status
from jqueue.job.status import FINALIZED, JobStatus, calc_priority
from jqueue.store.disk import Disk
from jqueue.store.segment import Journal

INDEX: Final = "journal/index"
INDEXED_TRANSACTIONS: Final = 1_000
MAX_INDEX_BYTES: Final = 1 << 30


BEGUN: Final = b"*"
"""Ends the stub of a job that waits, runs or is being canceled: few do, and they are looked for."""


class _Stubs(dict[int, bytes]):
    """One object for each priority: there are as many stubs as unfinished jobs."""

    def __init__(self, mark: bytes) -> None:
        super().__init__()
        self._mark = mark

    def __missing__(self, priority: int) -> bytes:
        return self.setdefault(priority, b"%d%b" % (priority, self._mark))


_QUEUED: Final = _Stubs(b"")
_BEGUN: Final = _Stubs(BEGUN)


def unloaded(status: JobStatus, priority: int) -> bytes:
    """Return what stands in the state for an unfinished job whose document is in its file."""
    return (_QUEUED if status is JobStatus.QUEUED else _BEGUN)[priority]


def has_begun(value: Any) -> bool:
    """Say whether a value of the state is an unfinished job that is not queued."""
    if type(value) is bytes:
        return value.endswith(BEGUN)
    status = live_status(value)
    return status is not None and status is not JobStatus.QUEUED and status not in FINALIZED


class Index(NamedTuple):
    """The queue as of `lsn`: unfinished jobs in claim order, the other values, the last commits.

    `begun` are those of the jobs that are not queued; `transactions` are ids and LSNs of the
    newest, so that one that is committed again is known.
    """

    lsn: int
    priorities: list[int]
    jobs: list[int]
    begun: list[int]
    values: dict[str, Any]
    transactions: list[tuple[str, int]]

    def state(self) -> dict[Key, Any]:
        """Return the state that it stands for, every job unloaded."""
        stubs = map(_QUEUED.__getitem__, self.priorities)
        state: dict[Key, Any] = dict(zip(self.jobs, stubs, strict=True))
        for job in self.begun:
            state[job] = _BEGUN[int(state[job])]
        state.update(self.values)
        return state


def claim_order(items: dict[Key, Any]) -> Iterator[tuple[int, int]]:
    """Yield (priority, job ID) of the unfinished jobs among `items`, most urgent first."""
    by_priority: defaultdict[int, list[int]] = defaultdict(list)
    unread: defaultdict[bytes, list[Any]] = defaultdict(list)
    for key, value in items.items():
        if type(value) is bytes:
            unread[value].append(key)
        elif type(key) is int and is_open(value):
            by_priority[calc_priority(value.document["ops"])].append(key)
    for stub, jobs in unread.items():
        by_priority[int(stub.removesuffix(BEGUN))] += jobs
    for priority in sorted(by_priority):
        for job in sorted(by_priority[priority]):
            yield priority, job


def make_index(lsn: int, items: dict[Key, Any], transactions: list[tuple[str, int]]) -> Index:
    """Return the index of these durable values as of `lsn`."""
    order = list(claim_order(items))
    values = {key: value for key, value in items.items() if isinstance(key, str)}
    priorities = [priority for priority, _ in order]
    jobs = [job for _, job in order]
    begun = [job for job in jobs if has_begun(items[job])]
    return Index(lsn, priorities, jobs, begun, values, transactions)


def write_index(disk: Disk, index: Index) -> int:
    """Write the index, durably, and return its size in bytes."""
    body = orjson.dumps(index._asdict())
    data = b"%08x %b\n" % (zlib.crc32(body), body)
    disk.write_file(INDEX, data, new=False)
    disk.sync_file(INDEX)
    disk.sync_dir("journal")
    return len(data)


def read_index(disk: Disk) -> Index | None:
    """Return the index if it is whole."""
    try:
        data = disk.read(INDEX, MAX_INDEX_BYTES)
    except OSError:
        return None
    body = memoryview(data)[9:-1]
    if data[:8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        return Index(**orjson.loads(body))
    except (orjson.JSONDecodeError, TypeError):
        return None


def is_complete(index: Index, journal: Journal) -> bool:
    """Say whether the unretired segments hold all that came after the index.

    That is so if it reaches up to the first of them, or is the very one that was written when files
    were said to reflect everything before it.
    """
    first = journal.segments[0].header.first_lsn
    reaches = first - 1 <= index.lsn <= journal.last_lsn
    return reaches or index.lsn == journal.newest.indexed
