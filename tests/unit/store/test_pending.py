"""Which queued jobs stay in memory: those that are started soon, and no more than fit."""

import pytest

from jqueue.daemon.jobqueue import JobQueue
from jqueue.store.pending import Pending


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue") as opened:
        yield opened


def loads(queue, monkeypatch):
    """Count the job files that are read from now on."""
    read = []
    disk = queue._directory.disk
    inner = disk.read
    monkeypatch.setattr(
        disk, "read", lambda path, limit: (read.append(path), inner(path, limit))[1]
    )
    return read


def delay():
    return {"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": True}


def test_a_queued_job_is_not_read_from_its_file_to_be_started(queue, monkeypatch):
    job = queue.submit([delay()])
    queue.checkpoint()
    read = loads(queue, monkeypatch)
    claim = queue.claim(timeout_s=5)
    assert claim.job.id == job
    assert not [path for path in read if path.startswith("job-")]
    claim.finish(True)


def test_what_does_not_fit_is_read_from_its_file(queue, monkeypatch):
    queue._directory._pending = Pending(jobs=1)
    first, second = queue.submit([delay()]), queue.submit([delay()])
    queue.checkpoint()
    read = loads(queue, monkeypatch)
    assert [queue.job(job).id for job in (first, second)] == [first, second]
    assert [path for path in read if path.startswith("job-")] == [f"job-{second}"]


def test_a_job_that_ends_makes_room_for_another(queue, monkeypatch):
    queue._directory._pending = Pending(jobs=1)
    first = queue.submit([delay()])
    queue.checkpoint()
    queue.cancel(first)
    queue.checkpoint()
    second = queue.submit([delay()])
    queue.checkpoint()
    read = loads(queue, monkeypatch)
    assert queue.job(second).id == second
    assert not [path for path in read if path.startswith("job-")]


def test_no_more_bytes_are_kept_than_fit_whatever_becomes_of_a_job():
    pending = Pending(jobs=10, size_bytes=100)
    assert pending.keep(1, 60)
    assert not pending.keep(2, 60)
    assert pending.keep(2, 40)
    assert not pending.keep(1, 61), "it has grown"
    assert pending.keep(3, 60), "what has grown too large is kept no more"
    pending.drop(2)
    pending.drop(2)
    assert pending.keep(4, 40)
    assert not pending.keep(5, 1)
