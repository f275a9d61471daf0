"""The space ahead of a segment: spaces that records overwrite, and that nobody takes for one."""

import pytest

from archive_tools.journal import Damage, parts, records_in
from jqueue.store.disk import PADDING
from jqueue.store.following import Follower
from jqueue.store.protocol import Transaction
from jqueue.store.segment import read_segment, segment_numbers, segment_path
from tests.crash.workload import open_store, submit
from tests.fakes import FakeDisk

LIMIT = 1 << 20


def commit(store, job):
    store.commit(Transaction(f"tx-{job}", tuple(submit(job))))


def new_queue(jobs=2, disk=None, **options):
    disk = disk or FakeDisk()
    store = open_store(disk, files="behind", **options)
    for job in range(1, jobs + 1):
        commit(store, job)
    return disk, store


def segments(disk):
    return [disk.read(segment_path(number), LIMIT) for number in segment_numbers(disk)]


def test_segment_that_is_written_has_space_ahead_and_one_that_is_closed_has_none():
    disk, store = new_queue(30, segment_bytes=4000)
    *closed, written = segments(disk)
    assert len(closed) > 2
    assert [data[-1:] for data in closed] == [b"\n"] * len(closed)
    assert written.endswith(b" " * 100)
    store.close()
    assert all(data.endswith(b"\n") for data in segments(disk))


def test_most_records_overwrite_spaces():
    disk, store = new_queue(1)
    sizes = set()
    for job in range(2, 32):
        commit(store, job)
        sizes.add(disk.size(segment_path(1)))
    assert 2 < len(sizes) < 15


def test_segment_in_process_mode_has_no_space_ahead():
    disk, _ = new_queue(durability="process")
    [data] = segments(disk)
    assert data.endswith(b"}\n")


@pytest.mark.parametrize("padding", [b" ", b"\0"])
def test_who_follows_sees_what_comes_into_the_space(padding):
    disk, store = new_queue()
    follower = Follower(disk, 1)
    assert [found.lsn for found in follower.read()] == [1, 2]
    data = disk.read(segment_path(1), LIMIT)
    disk.overwrite(segment_path(1), data.rstrip(b" ").ljust(len(data), padding))
    assert list(follower.read()) == []
    assert follower.bad is None
    commit(store, 3)
    assert [found.lsn for found in follower.read()] == [3]


class Hasty(FakeDisk):
    """A disk on which a read that comes while a record is written misses the record's beginning."""

    hidden = b""

    def read(self, path, limit):
        data, hidden = super().read(path, limit), self.hidden
        self.hidden = b""
        return data.replace(hidden, b" " * len(hidden)) if hidden else data


def hasty(jobs, lsn):
    """A disk whose next read misses the beginning of the record of this LSN."""
    disk, _ = new_queue(jobs, Hasty())
    lines = disk.read(segment_path(1), LIMIT).rstrip(PADDING).splitlines()
    disk.hidden = lines[lsn][:100]
    return disk


def test_record_that_is_seen_in_part_while_it_is_written_is_read_again():
    # The one before the last, which the last one claims to be durable.
    segment = read_segment(hasty(4, lsn=3), 1)
    assert [found.lsn for found in segment.records] == [1, 2, 3, 4]
    assert segment.bad_offset is None


def test_inspection_reads_it_again_too():
    found = [part.what for part in parts(hasty(5, lsn=3), owned=True)]
    assert not [what for what in found if isinstance(what, Damage)]
    assert [found.lsn for found in records_in(hasty(5, lsn=3), 1)] == [1, 2, 3, 4, 5]
