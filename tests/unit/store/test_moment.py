"""P13: a reader beside a live owner shows one moment, however their system calls interleave."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqueue.errors import QueueFailed
from jqueue.store.following import Follower, Rewound
from jqueue.store.offline import OfflineQueue
from jqueue.store.past import OutOfReach
from jqueue.store.protocol import Transaction
from jqueue.store.segment import segment_numbers, segment_path
from tests.crash.workload import open_store, submit
from tests.fakes import FakeDisk
from tests.unit.store.stepping import SteppedDisk, Turns, Writer, jobs_in, jobs_of, others_in


def look(disk, writer, *, owned=True, at=None):
    """Read everything; compare it with what was committed through the moment shown."""
    with OfflineQueue(disk.path, disk=disk, owned=owned, at=at) as queue:
        shown = jobs_of(queue)
        others = others_in(queue.found.values)
        lsn = queue.lsn
    state = writer.state_at(lsn)
    expected = jobs_in(state)
    for job, (place, document) in shown.items():
        if document is None:  # pruned since, and no segment has its document
            assert (place, writer.state_at(writer.durable)[job].place) == ("archive", "gone")
            expected[job] = (expected[job][0], None)
    assert shown == expected, lsn
    if at is None:
        assert others == others_in(state), lsn
    return lsn


def interleaved(schedule, *, looks=3, history_bytes=256 << 20, **options):
    """Let the writer make `schedule[n]` system calls before the reader's n-th.

    Yields for each look the LSN acknowledged before, the LSN shown, and the LSN durable then.
    """
    disk = FakeDisk()
    writer = Writer(disk, **options)
    writer.history_bytes = history_bytes
    turns = Turns(writer)
    steps = iter(schedule)
    reader = SteppedDisk(disk, lambda: turns.take(next(steps, 0)))
    try:
        turns.take(next(steps))
        for _ in range(looks):
            acknowledged = writer.acknowledged
            yield acknowledged, look(reader, writer), writer.durable
    finally:
        turns.finish()
    yield writer.acknowledged, look(disk, writer, owned=False), writer.durable


def calls_in_a_day(**options):
    disk = FakeDisk()
    Writer(disk, **options).live()
    return len(disk.calls)


BORN = 20
"""System calls after which there is a queue."""


@pytest.mark.parametrize("durability", ["full", "process"])
@pytest.mark.parametrize("pace", [2, 5])
def test_p13_a_reader_beside_a_writer_shows_one_moment_at_every_pace(durability, pace):
    for begin in range(BORN, calls_in_a_day(), 80 * pace):
        moments = [
            lsn for _, lsn, _ in interleaved([begin] + [pace] * 10_000, durability=durability)
        ]
        assert moments == sorted(moments)


@pytest.mark.parametrize("durability", ["full", "process"])
def test_p13_before_each_call_of_a_writer_a_reader_shows_what_is_durable(durability):
    last = 0
    for begin in range(BORN, calls_in_a_day(), 29):
        _, lsn, durable = next(interleaved([begin], durability=durability))
        # In process mode written is durable, a moment before the writer says so.
        assert lsn <= durable + (durability == "process")
        assert lsn >= last
        last = lsn


def test_p13_a_submission_whose_file_is_there_is_shown_at_once():
    disk = FakeDisk()
    store = open_store(disk)
    store.commit(_transaction("1", 1))
    store.commit(_transaction("2", 2))
    with OfflineQueue(disk.path, disk=disk, owned=True) as queue:
        assert queue.job_ids() == [1, 2]
    store.close()


@settings(max_examples=15)
@given(
    begin=st.integers(BORN, 700),
    schedule=st.lists(st.integers(0, 40), min_size=1, max_size=400),
    history_bytes=st.sampled_from([0, 3_000, 256 << 20]),
    durability=st.sampled_from(["full", "process"]),
)
def test_p13_however_reader_and_writer_interleave(begin, schedule, history_bytes, durability):
    # Where the history is dropped at once a reader may be too slow, and says so.
    with contextlib.suppress(*[QueueFailed] if history_bytes < 1 << 20 else []):
        moments = [
            lsn
            for _, lsn, _ in interleaved(
                [begin, *schedule], durability=durability, history_bytes=history_bytes
            )
        ]
        assert moments == sorted(moments)


@pytest.mark.torture
@pytest.mark.timeout(6 * 3600)
@settings(max_examples=20_000)
@given(
    begin=st.integers(BORN, 700),
    schedule=st.lists(st.integers(0, 60), min_size=1, max_size=800),
    durability=st.sampled_from(["full", "process"]),
)
def test_p13_however_reader_and_writer_interleave_for_hours(begin, schedule, durability):
    moments = [lsn for _, lsn, _ in interleaved([begin, *schedule], durability=durability)]
    assert moments == sorted(moments)


@pytest.mark.parametrize("begin", [60, 130, 200, 260])
def test_p13_a_dead_queue_that_is_opened_while_it_is_read_is_shown_as_it_was(begin):
    disk = FakeDisk()
    turns = Turns(Writer(disk))
    turns.take(begin)
    dead = disk.kill_state()
    turns.finish()
    with OfflineQueue(dead.path, disk=dead, owned=False) as queue:
        before, lsn = jobs_of(queue), queue.lsn
    for pace in (1, 4):
        found = dead.clone()
        heirs = Turns(Writer(found))
        reader = SteppedDisk(found, lambda: heirs.take(pace))  # noqa: B023 - used in this round
        with OfflineQueue(found.path, disk=reader, owned=False) as queue:
            if queue.lsn == lsn:
                assert jobs_of(queue) == before
        heirs.finish()


def test_at_every_lsn_that_the_journal_keeps_the_queue_is_shown_as_it_was():
    disk = FakeDisk()
    writer = Writer(disk)
    writer.live()
    assert len(segment_numbers(disk)) > 3
    for lsn in range(writer.acknowledged + 1):
        assert look(disk, writer, owned=False, at=lsn) == lsn


def test_at_a_moment_beyond_reach_says_how_far_the_journal_goes():
    disk = FakeDisk()
    writer = Writer(disk)
    writer.live()
    for number in segment_numbers(disk)[:4]:
        disk.unlink(segment_path(number))
    with OfflineQueue(disk.path, disk=disk, owned=False) as queue:
        earliest, last = queue.reach.lsn, queue.lsn
    assert 0 < earliest < last
    with pytest.raises(OutOfReach, match=f"goes back to LSN {earliest} "):
        OfflineQueue(disk.path, disk=disk, owned=False, at=earliest - 1)
    with pytest.raises(OutOfReach, match=f"ends at LSN {last}"):
        OfflineQueue(disk.path, disk=disk, owned=False, at=last + 1)
    for lsn in range(earliest, writer.acknowledged + 1):
        assert look(disk, writer, owned=False, at=lsn) == lsn


def test_whoever_follows_records_that_are_cut_off_begins_anew():
    disk = FakeDisk()
    store = open_store(disk)
    store.commit(_transaction("1", 1))
    follower = Follower(disk, 1)
    assert [found.lsn for found in follower.read()] == [1]
    file = disk.append(segment_path(1))
    file.size = disk.read(segment_path(1), 1 << 20).rstrip().rindex(b"\n") + 1
    file.cut()
    file.write(b"something longer than what stood there before it was cut off" * 20 + b"\n")
    with pytest.raises(Rewound):
        list(follower.read())


def _transaction(name, job):
    return Transaction(name, tuple(submit(job)))


def test_an_index_beyond_the_journals_end_is_not_relied_on():
    disk = FakeDisk()
    store = open_store(disk, durability="process")
    store.commit(_transaction("1", 1))
    store.checkpoint()
    store.commit(_transaction("2", 2))
    early = disk.read(segment_path(1), 1 << 20)
    store.commit(_transaction("3", 3))
    store.checkpoint()
    disk.overwrite(segment_path(1), early)  # what a power cut may leave in this mode
    with OfflineQueue(disk.path, disk=disk, owned=True) as queue:
        assert queue.find("count/queued") == len(queue.job_ids()) > 1
