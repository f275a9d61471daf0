import gc

import pytest

from jqueue.errors import InvalidJob, JobNotFound
from jqueue.job.status import JobStatus
from jqueue.queue.reading import as_flag
from jqueue.queue.running import interrupted, wait_for_locks
from tests.unit.queue.making import NOON, NS, begin, delay, end, new_queue, run


def mixed():
    """Jobs 1 success, 2 error, 3 archived, 4 running, 5 queued."""
    queue = new_queue()
    queue.submit_many([[delay()]] * 5)
    run(queue, 1)
    run(queue, 2, ok=False)
    queue.cancel(3)
    queue.archive(3)
    begin(queue, 4)
    return queue


def ids(jobs):
    return [job.id for job in jobs]


def test_jobs_come_ascending_and_archived_ones_only_if_wanted():
    queue = mixed()
    assert ids(queue.jobs()) == [1, 2, 4, 5]
    assert ids(queue.jobs(archived=True)) == [1, 2, 3, 4, 5]
    assert [job.archived for job in queue.jobs(archived=True)] == [False, False, True, False, False]


def test_jobs_can_be_chosen_by_id_and_by_status():
    queue = mixed()
    assert ids(queue.jobs(ids=[5, 1, 1, 99, 3])) == [1, 5]
    assert ids(queue.jobs(ids=["5", 3], archived=True)) == [3, 5]
    assert ids(queue.jobs(ids=[])) == []
    assert ids(queue.jobs(statuses=["queued", JobStatus.RUNNING])) == [4, 5]
    assert ids(queue.jobs(statuses=["error", "queued"])) == [2, 5]
    assert ids(queue.jobs(statuses="success")) == [1]
    assert ids(queue.jobs(statuses=["canceled"], archived=True)) == [3]
    assert ids(queue.jobs(statuses=[])) == []


def test_what_can_not_be_asked_for_is_refused_at_the_call():
    queue = mixed()
    with pytest.raises(InvalidJob):
        queue.jobs(statuses=["done"])
    with pytest.raises(InvalidJob):
        queue.jobs(ids=["x"])
    with pytest.raises(InvalidJob):
        queue.count(statuses=[None])


def test_a_listing_is_of_the_moment_when_it_was_asked_for():
    queue = mixed()
    jobs = queue.jobs()
    queue.submit([delay()])
    queue.cancel(5)
    queue.archive(1)
    assert ids(jobs) == [1, 2, 4, 5]
    assert list(jobs) == []


def test_a_listing_lets_go_of_its_moment_when_it_is_read_closed_or_dropped():
    closed = []

    class Watched:
        def __init__(self, moment):
            self.moment = moment

        def __getattr__(self, name):
            return getattr(self.moment, name)

        def close(self):
            closed.append(self)

    queue = mixed()
    snapshot = queue.store.snapshot
    queue.reader._snapshot = lambda: Watched(snapshot())
    whole = queue.jobs()
    assert len(list(whole)) == 4
    assert len(closed) == 1
    with queue.jobs() as jobs:
        next(jobs)
    assert len(closed) == 2
    jobs = queue.jobs()
    next(jobs)
    del jobs
    gc.collect()
    assert len(closed) == 3


def test_a_job_is_found_live_or_archived_or_is_not_there():
    queue = mixed()
    assert queue.job(3).archived
    assert queue.job("4").status == "running"
    with pytest.raises(JobNotFound) as caught:
        queue.job(9)
    assert caught.value.job_id == 9


def test_counts_follow_the_live_jobs():
    queue = mixed()
    assert queue.count() == 4
    assert queue.count(statuses=["queued"]) == 1
    assert queue.count(statuses=["queued", "running", "error"]) == 3
    assert queue.count(statuses="canceled") == 0
    assert queue.count(statuses=[]) == 0
    assert queue.reader.count() == 4


def test_a_job_that_moves_while_the_counts_are_read_is_counted_once():
    queue = new_queue()
    queue.submit([delay()])
    find = queue.store.find

    def find_and_start(key):
        value = find(key)
        if key == "count/queued" and value:
            begin(queue, 1)
        return value

    queue.store.find = find_and_start
    assert queue.count() == 1


def test_status_is_of_one_moment():
    queue = mixed()
    queue.drain("why")
    status = queue.status()
    assert status["serial"] == 5
    assert status["jobs"] == 4
    assert status["counts"] == {
        "queued": 1,
        "waiting": 0,
        "canceling": 0,
        "running": 1,
        "canceled": 0,
        "success": 1,
        "error": 1,
    }
    assert status["drain"]["reason"] == "why"
    assert status["pause"] is None
    assert status["lsn"] == queue.store.ledger.durable_lsn


def test_ganetis_empty_drain_file_is_a_drain():
    assert as_flag({}) == {"reason": None, "by": None, "since": None}
    assert as_flag(None) is None


# Explain


def reasons(queue, job):
    return [reason["reason"] for reason in queue.explain(job)]


def test_explain_names_what_holds_a_job_back():
    queue = new_queue()
    queue.submit([delay()])
    queue.submit([delay(depends=[[1, []]], not_before=NOON / NS + 5)])
    assert reasons(queue, 1) == ["ready"]
    assert reasons(queue, 2) == ["dependency", "not_before"]
    assert "job 1, which is queued" in queue.explain(2)[0]["text"]
    queue.pause("lunch")
    assert reasons(queue, 1) == ["paused"]
    assert "lunch" in queue.explain(1)[0]["text"]
    queue.resume()
    token = begin(queue, 1)
    assert reasons(queue, 1) == ["running"]
    queue.cancel(1, kill=True)
    assert reasons(queue, 1) == ["canceling"]
    queue.ask(interrupted(1, 0, token, now=NOON))
    assert reasons(queue, 1) == ["finalized"]
    assert "canceled" in queue.explain(2)[0]["text"]
    with pytest.raises(JobNotFound):
        queue.explain(9)


def test_explain_names_the_retry_the_locks_and_what_a_person_must_decide():
    queue = new_queue()
    queue.submit([delay(retries=1)])
    end(queue, 1, begin(queue, 1), ok=False, retry_delay_s=60)
    assert "tried again" in queue.explain(1)[0]["text"]
    queue.submit([delay()])
    queue.ask(wait_for_locks(2, 0, now=NOON))
    assert reasons(queue, 2) == ["locks"]
    token = begin(queue, 2, policy="unknown")
    queue.ask(interrupted(2, 0, token, now=NOON))
    assert reasons(queue, 2) == ["parked"]
    assert "jqueue resolve 2" in queue.explain(2)[0]["text"]
