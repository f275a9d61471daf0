"""P9: a disk that fills up, stays full for a while, and has space again."""

import random

import pytest

from jqueue.errors import DiskFull
from jqueue.queue.core import QueueCore
from jqueue.store import checkpoint, journal
from tests.crash.workload import open_store
from tests.fakes import FakeDisk
from tests.unit.queue.making import FrozenClock, begin, delay, end

PADDING = {"comment": "x" * 400}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(checkpoint, "RETRY_S", 0)
    monkeypatch.setattr(journal, "RESERVE_BYTES", 40_000)


def opened(disk):
    return QueueCore(open_store(disk), FrozenClock())


def fill(queue, ids):
    """Submit until the disk is full; say how many it took."""
    for count in range(1000):
        try:
            ids.append(queue.submit([delay(**PADDING)]))
        except DiskFull:
            return count
    return pytest.fail("the disk is never full")


def filled(disk):
    """A queue with two running jobs, and the IDs it gave out until its disk stayed full."""
    queue = opened(disk)
    ids = [queue.submit([delay()]) for _ in range(2)]
    tokens = [begin(queue, job) for job in ids]
    disk.capacity = sum(len(data) for data in disk.tree().values() if data) + 20_000
    fill(queue, ids)
    # The reserve pays for checkpoints, which let go of journal: for a while there is room again.
    for _ in range(20):
        queue.store.checkpointer._pass(idle=True)
        if fill(queue, ids) == 0 and queue.store.journal.reserve_spent:
            return queue, ids, tokens
    return pytest.fail("the disk does not stay full")


def check(disk, ids, statuses):
    queue = opened(disk)
    assert [job.id for job in queue.jobs()] == ids
    assert {job: queue.job(job).status for job in statuses} == statuses
    queue.close()


def test_p9_on_a_full_disk_submissions_are_refused_and_what_runs_can_finish():
    disk = FakeDisk()
    queue, ids, tokens = filled(disk)
    end(queue, ids[0], tokens[0])
    assert queue.cancel(ids[2]).ok
    queue.drain("the disk is full")
    assert queue.store.status()["reserve"] == "spent"
    statuses = {ids[0]: "success", ids[1]: "running", ids[2]: "canceled", ids[3]: "queued"}
    for left in [disk.kill_state(), *disk.crash_states(random.Random(7), limit=20)]:
        left.capacity = None
        check(left, ids, statuses)


def test_p9_when_space_returns_all_heals_by_itself():
    disk = FakeDisk()
    queue, ids, tokens = filled(disk)
    end(queue, ids[0], tokens[0])
    disk.capacity = None
    queue.store.checkpointer._pass(idle=True)
    status = queue.store.status()
    assert (status["reserve"], status["checkpoint_error"]) == ("whole", None)
    end(queue, ids[1], tokens[1])
    ids.append(queue.submit([delay(**PADDING)]))
    queue.close()
    for left in disk.crash_states(random.Random(8), limit=5):
        check(left, ids, {ids[0]: "success", ids[1]: "success", ids[-1]: "queued"})


def test_p9_a_finish_that_even_the_reserve_can_not_pay_for_is_refused_whole_and_can_be_repeated():
    disk = FakeDisk()
    queue, ids, tokens = filled(disk)
    disk.capacity = 0
    with pytest.raises(DiskFull, match="nothing was changed"):
        end(queue, ids[0], tokens[0], result="y" * 1000)
    assert queue.job(ids[0]).status == "running"
    check_left = disk.kill_state()
    check_left.capacity = None
    check(check_left, ids, {ids[0]: "running"})
    disk.capacity = None
    end(queue, ids[0], tokens[0], result="y" * 1000)
    queue.store.checkpoint()
    for left in disk.crash_states(random.Random(9), limit=5):
        check(left, ids, {ids[0]: "success"})
