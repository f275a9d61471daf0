"""P7: a file that is damaged while a queue is open is set aside when it is first read."""

import threading

import pytest

from jqueue import JobQueue
from jqueue.errors import DiskFull, JobNotFound
from jqueue.job.dependency import Verdict
from jqueue.job.state import Place
from jqueue.queue.core import QueueCore
from jqueue.queue.dependencies import verdict_on
from tests.crash.workload import open_store
from tests.fakes import FakeDisk
from tests.unit.queue.making import FrozenClock, begin, delay, end, run

LIMIT_S = 30


@pytest.fixture
def disk():
    return FakeDisk()


def opened(disk):
    return QueueCore(open_store(disk), FrozenClock())


def damaged(disk, jobs):
    """A reopened queue of which the file of one job, not read yet, holds nonsense."""
    queue = opened(disk)
    for options in jobs:
        queue.submit([delay(**options.pop("op", {}))], **options)
    queue.close()
    disk.overwrite("job-1", b"x" * disk.size("job-1"))
    return opened(disk)


def test_p7_a_damaged_file_is_set_aside_by_a_record_and_counts_no_more(disk):
    queue = damaged(disk, [{}, {}])
    with pytest.raises(JobNotFound, match="damaged"):
        queue.job(1)
    queue.store.checkpoint()
    assert not disk.exists("job-1")
    assert [name.rpartition(".")[0] for name in disk.names("quarantine")] == ["job-1"]
    assert queue.count(statuses=["queued"]) == 1
    with queue.store.snapshot() as moment:
        assert moment.open_ids() == [2]
    assert queue.submit([delay()]) == 3
    queue.close()
    again = opened(disk)
    assert again.count() == 2
    assert [job.id for job in again.jobs()] == [2, 3]
    again.close()


def test_p7_after_a_crash_it_is_set_aside_all_the_same(disk):
    queue = damaged(disk, [{"unique": "u"}, {}])
    with pytest.raises(JobNotFound):
        queue.job(1)
    queue.store.checkpointer.before_pass()
    left = disk.kill_state()
    again = opened(left)
    assert again.count() == 1
    again.store.checkpoint()
    assert not left.exists("job-1")
    assert len(left.names("quarantine")) == 1
    assert again.submit([delay()], unique="u") == 3


def test_p7_a_record_of_damage_that_failed_is_tried_again(disk, monkeypatch):
    # It was forgotten with the first failure: the job stayed counted until the next opening.
    queue = damaged(disk, [{}, {}])
    with pytest.raises(JobNotFound):
        queue.job(1)

    def full(_decide):
        raise DiskFull("full")

    with monkeypatch.context() as patch:
        patch.setattr(queue.store.ledger, "transact", full)
        with pytest.raises(DiskFull):
            queue.store.checkpoint()
    queue.store.checkpoint()
    assert queue.count() == 1
    assert not disk.exists("job-1")


def test_p7_the_unique_name_of_a_damaged_job_is_free(disk):
    queue = damaged(disk, [{"unique": "u"}])
    with pytest.raises(JobNotFound):
        queue.job(1)
    queue.store.checkpoint()
    assert queue.submit([delay()], unique="u") == 2


def test_p7_who_depends_on_a_damaged_job_waits_for_nothing(disk):
    queue = damaged(disk, [{}, {"op": {"depends": [[1, []]]}}])
    with pytest.raises(JobNotFound):
        queue.job(1)
    queue.store.checkpoint()
    assert queue.store.find("fate/1") == "lost"
    op = queue.job(2).to_dict()["ops"][0]
    assert verdict_on(queue.store, op, 2)[0] is Verdict.ERROR


def test_p7_a_document_that_memory_holds_outlives_its_file(disk):
    queue = damaged(disk, [{}, {}])
    token = begin(queue, 2)
    disk.overwrite("job-2", b"x" * disk.size("job-2"))
    end(queue, 2, token)
    queue.store.checkpoint()
    assert queue.job(2).status == "success"
    assert b"success" in disk.read("job-2", 1 << 20)


def test_p7_a_damaged_archived_file_stays_where_it_is(disk):
    queue = opened(disk)
    queue.submit([delay()])
    run(queue, 1)
    assert queue.archive(1)
    queue.close()
    disk.overwrite("archive/0/job-1", b"x" * disk.size("archive/0/job-1"))
    queue = opened(disk)
    with pytest.raises(JobNotFound, match="damaged"):
        queue.job(1)
    queue.store.checkpoint()
    assert disk.exists("archive/0/job-1")
    assert not disk.is_dir("quarantine")


def test_p7_a_damaged_file_does_not_stop_the_rest_of_a_running_queue(tmp_path):
    with JobQueue.open(tmp_path / "queue") as queue:
        queue.submit_many([[delay(0)]] * 3)
    (tmp_path / "queue" / "job-2").write_bytes(b"\x00" * 100)
    with JobQueue.open(tmp_path / "queue") as queue:
        gone = threading.Event()
        queue.store.subscribe(
            lambda batch: (
                gone.set()
                if (entry := batch.values.get(2)) and entry.place is Place.QUARANTINE
                else None
            )
        )
        queue.run(workers=1, isolation="thread", until_idle=True)
        assert [job.status for job in queue.jobs()] == ["success", "success"]
        assert gone.wait(LIMIT_S)
        assert queue.count() == 2
    assert [path.name[:6] for path in (tmp_path / "queue" / "quarantine").iterdir()] == ["job-2."]
