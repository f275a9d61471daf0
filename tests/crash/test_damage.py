"""Damaged queues: what is torn, what is corrupt (P8), what is repaired (P3, P7)."""

import pytest

from jqueue.errors import QueueCorrupt
from jqueue.job.change import DrainSet
from jqueue.store.disk import PADDING
from jqueue.store.protocol import Transaction
from tests.crash.workload import STATES, Progress, live_the_day, open_store, state_of, submit
from tests.fakes import FakeDisk


def commit(store, job):
    return store.commit(Transaction(f"tx-{job}", tuple(submit(job))))


def killed(jobs=5, **options):
    """A disk whose queue was killed after some submissions: one segment, nothing retired."""
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=1 << 20, files="behind", **options)
    for job in range(1, jobs + 1):
        commit(store, job)
    return disk.kill_state()


def whole_day():
    disk = FakeDisk()
    live_the_day(disk, Progress())
    return disk


def lines_of(disk, path):
    """The lines of a segment, without the space ahead."""
    return disk.read(path, 1 << 30).rstrip(PADDING).splitlines(keepends=True)


def flip(disk, path, offset):
    data = bytearray(disk.read(path, 1 << 30))
    data[offset] ^= 1
    disk.overwrite(path, bytes(data))


SEGMENT = "journal/00000001"


def refused(disk):
    """The queue is refused and every byte stays as it was."""
    before = disk.tree()
    with pytest.raises(QueueCorrupt, match="nothing was changed") as error:
        open_store(disk)
    assert disk.tree() == before
    return error.value


def test_p8_a_journal_that_ends_before_what_job_files_reflect_is_corrupt():
    # The watermark is padded to a fixed width, and was never believed because of it.
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=1 << 20, files="behind")
    for job in (1, 2):
        commit(store, job)
    store.checkpointer._write_files()
    left = disk.kill_state()
    left.overwrite(SEGMENT, b"".join(lines_of(left, SEGMENT)[:-1]))
    error = refused(left)
    assert (error.lsn, error.path) == (2, str(left.path / SEGMENT))


@pytest.mark.parametrize("ahead", [b"", b" " * 99, b"\0" * 99, b" " * 50 + b"\0" * 50])
def test_p8_a_torn_tail_is_ignored_wherever_it_ends(ahead):
    disk = killed()
    lines = lines_of(disk, SEGMENT)
    whole = b"".join(lines)
    for end in range(len(whole) - len(lines[-1]), len(whole)):
        torn = disk.clone()
        torn.overwrite(SEGMENT, whole[:end] + ahead)
        store = open_store(torn)
        assert store.find("serial") == 4
        assert store.snapshot().job_ids() == [1, 2, 3, 4]
        assert commit(store, 5).lsn == 5


def test_p8_damage_before_a_later_claim_is_refused_with_offset_and_lsn():
    disk = killed()
    lines = lines_of(disk, SEGMENT)
    for at in range(1, len(lines) - 1):
        offset = sum(map(len, lines[:at]))
        for inside in (0, 8, len(lines[at]) // 2, len(lines[at]) - 2):
            damaged = disk.clone()
            flip(damaged, SEGMENT, offset + inside)
            error = refused(damaged)
            assert (error.offset, error.lsn) == (offset, at)


def test_p8_a_record_that_is_cut_out_is_refused():
    disk = killed()
    lines = lines_of(disk, SEGMENT)
    disk.overwrite(SEGMENT, b"".join(lines[:2] + lines[3:]))
    assert refused(disk).lsn == 2


def test_p8_damage_behind_what_the_mark_claims_is_refused():
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=1 << 20)
    commit(store, 1)
    commit(store, 2)
    store.ledger.mark()
    lines = lines_of(disk, SEGMENT)
    flip(disk, SEGMENT, sum(map(len, lines[:2])) + 20)
    assert refused(disk).lsn == 2


def test_p8_the_watermark_makes_a_lost_end_corrupt():
    """It was padded after its checksum was made, so it never read back, and was no evidence."""
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=1 << 20)
    commit(store, 1)
    commit(store, 2)
    store.checkpointer._write_files()
    lines = lines_of(disk, SEGMENT)
    disk.overwrite(SEGMENT, b"".join(lines[:-1]))
    assert refused(disk).lsn == 2


def test_p8_a_damaged_line_end_does_not_hide_the_claim_behind_it():
    disk = killed()
    lines = lines_of(disk, SEGMENT)
    offset = sum(map(len, lines[:-1])) - 1
    data = bytearray(disk.read(SEGMENT, 1 << 30))
    data[offset] ^= 1
    disk.overwrite(SEGMENT, bytes(data))
    assert refused(disk).lsn == 4


def test_p8_a_damaged_header_is_refused():
    disk = killed()
    for offset in range(0, len(lines_of(disk, SEGMENT)[0]), 9):
        damaged = disk.clone()
        flip(damaged, SEGMENT, offset)
        assert refused(damaged).offset == 0


def test_p8_a_missing_segment_is_refused():
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=700)
    for job in range(1, 8):
        commit(store, job)
    numbers = sorted(name for name in disk.names("journal") if name.isdigit())
    assert len(numbers) > 3
    for number in numbers[:-1]:
        less = disk.kill_state()
        less.unlink(f"journal/{number}")
        refused(less)


def test_p8_a_missing_journal_is_refused_where_files_speak_of_it():
    disk = whole_day()
    for name in list(disk.names("journal")):
        disk.unlink(f"journal/{name}")
    refused(disk)


@pytest.mark.parametrize("how", ["gone", "empty", "flipped", "cut", "old"])
def test_a_damaged_index_is_rebuilt_by_a_scan(how):
    disk = whole_day()
    index = disk.read("journal/index", 1 << 30)
    contents = {"empty": b"", "flipped": b"0" + index[1:], "cut": index[:-9], "old": b'{"lsn": 1}'}
    if how == "gone":
        disk.unlink("journal/index")
    else:
        disk.overwrite("journal/index", contents[how])
    assert state_of(open_store(disk)) == STATES[-1]


# Such jobs were counted by nobody, and what ran of them was not recovered by the next owner.
@pytest.mark.parametrize("index", [True, False])
def test_unfinished_jobs_of_a_retired_segment_are_counted_with_and_without_the_index(index):
    disk = FakeDisk()
    store = open_store(disk, segment_bytes=1 << 20)
    for job in (1, 2, 3):
        commit(store, job)
    store.checkpoint()
    # The segment goes on, with something that no job's file holds.
    store.commit(Transaction("tx-drain", (DrainSet({"reason": None, "by": "me", "since": 1}),)))
    disk = disk.kill_state()
    if not index:
        disk.unlink("journal/index")
    again = open_store(disk)
    assert state_of(again) == state_of(store)
    assert again.find("count/queued") == 3


@pytest.mark.parametrize("content", [None, b"", b"0\n", b"3\n", b"-5\n", b"many\n", b"\xff\xfe"])
@pytest.mark.parametrize("scan", [False, True])
def test_p3_a_lost_or_wrong_serial_file_changes_nothing(content, scan):
    disk = whole_day()
    if content is None:
        disk.unlink("serial")
    else:
        disk.overwrite("serial", content)
    if scan:
        disk.unlink("journal/index")
    store = open_store(disk)
    assert state_of(store) == STATES[-1]
    store.close()
    assert disk.read("serial", 64) == b"29\n"


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b'{"id": 7}', b"[" * 100_000])
def test_p7_a_damaged_file_is_set_aside_and_the_rest_goes_on(content):
    disk = whole_day()
    disk.overwrite("job-7", content)
    disk.unlink("journal/index")
    store = open_store(disk)
    state, before = state_of(store), STATES[-1]
    assert {job: state[job] for job in (6, 8, 9)} == {job: before[job] for job in (6, 8, 9)}
    assert 7 not in state
    assert 7 not in state["open"]
    assert store.find("serial") == 29
    assert commit(store, 30).lsn
    store.close()
    aside = disk.names("quarantine")
    assert [name.split(".")[0] for name in aside] == ["job-7"]
    assert disk.read(f"quarantine/{aside[0]}", 1 << 20) == content
    assert not disk.exists("job-7")
    again = open_store(disk)
    assert 7 not in again.snapshot().job_ids(archived=True)
    assert 30 in again.snapshot().job_ids()
