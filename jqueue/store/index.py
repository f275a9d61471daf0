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

from jqueue.job.state import Key, is_open
from jqueue.job.status import calc_priority
from jqueue.store.disk import Disk
from jqueue.store.segment import Journal

INDEX: Final = "journal/index"
INDEXED_TRANSACTIONS: Final = 1_000
MAX_INDEX_BYTES: Final = 1 << 30


class _Stubs(dict[int, bytes]):
    """One object for each priority: there are as many stubs as unfinished jobs."""

    def __missing__(self, priority: int) -> bytes:
        return self.setdefault(priority, b"%d" % priority)


_UNLOADED: Final = _Stubs()


def unloaded(priority: int) -> bytes:
    """Return what stands in the state for an unfinished job whose document is in its file."""
    return _UNLOADED[priority]


class Index(NamedTuple):
    """The queue as of `lsn`: unfinished jobs in claim order, the other values, the last commits.

    `transactions` are ids and LSNs of the newest, so that one that is committed again is known.
    """

    lsn: int
    priorities: list[int]
    jobs: list[int]
    values: dict[str, Any]
    transactions: list[tuple[str, int]]

    def state(self) -> dict[Key, Any]:
        """Return the state that it stands for, every job unloaded."""
        stubs = map(_UNLOADED.__getitem__, self.priorities)
        state: dict[Key, Any] = dict(zip(self.jobs, stubs, strict=True))
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
        by_priority[int(stub)] += jobs
    for priority in sorted(by_priority):
        for job in sorted(by_priority[priority]):
            yield priority, job


def make_index(lsn: int, items: dict[Key, Any], transactions: list[tuple[str, int]]) -> Index:
    """Return the index of these durable values as of `lsn`."""
    order = list(claim_order(items))
    values = {key: value for key, value in items.items() if isinstance(key, str)}
    priorities = [priority for priority, _ in order]
    return Index(lsn, priorities, [job for _, job in order], values, transactions)


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
