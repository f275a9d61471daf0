import math

import pytest

from jqueue.errors import InvalidJob, JobNotFound, QueueDrained, Refused
from jqueue.job.change import Pruned, Quarantined
from jqueue.queue.core import ARCHIVE_CHUNK
from jqueue.queue.operating import archive_many
from jqueue.queue.running import interrupted, wait_for_locks
from jqueue.store.protocol import Transaction
from tests.unit.queue.making import (
    NOON,
    NS,
    begin,
    delay,
    end,
    lsn,
    new_queue,
    op_of,
    run,
    statuses,
)


def queue_of(*jobs):
    queue = new_queue()
    for ops in jobs:
        queue.submit(ops)
    return queue


# Cancel


def test_a_queued_job_is_canceled_at_once():
    queue = queue_of([delay(), delay()])
    outcome = queue.cancel(1)
    assert outcome
    assert "canceled" in outcome.text
    assert statuses(queue, 1) == ["canceled", "canceled"]
    assert queue.job(1).ended is not None
    assert queue.job(1).started is None


def test_a_job_between_two_opcodes_is_canceled_and_keeps_its_results():
    queue = queue_of([delay(), delay()])
    run(queue, 1, result=42)
    assert queue.cancel(1)
    assert statuses(queue, 1) == ["success", "canceled"]
    assert op_of(queue, 1)["result"] == 42


def test_a_running_job_is_canceled_only_by_a_kill():
    queue = queue_of([delay()])
    begin(queue, 1)
    before = lsn(queue)
    outcome = queue.cancel(1)
    assert not outcome
    assert "running" in outcome.text
    assert lsn(queue) == before
    assert queue.cancel(1, kill=True)
    before = lsn(queue)
    assert queue.cancel(1, kill=True)
    assert lsn(queue) == before


def test_a_job_that_waits_with_nothing_running_is_canceled_at_once():
    queue = queue_of([delay()], [delay()])
    queue.ask(wait_for_locks(1, 0, now=NOON))
    assert queue.cancel(1)
    assert statuses(queue, 1) == ["canceled"]
    token = begin(queue, 2, policy="unknown")
    queue.ask(interrupted(2, 0, token, now=NOON))
    assert queue.cancel(2)
    assert statuses(queue, 2) == ["canceled"]


def test_what_has_ended_can_not_be_canceled():
    queue = queue_of([delay()], [delay()])
    run(queue, 1)
    queue.cancel(2)
    queue.archive(2)
    before = lsn(queue)
    assert "finished" in queue.cancel(1).text
    assert "archived" in queue.cancel(2).text
    assert "not found" in queue.cancel(3).text
    assert not any(queue.cancel(job, kill=True) for job in (1, 2, 3))
    assert lsn(queue) == before


@pytest.mark.parametrize("bad", ["x", None, -1, 1.5, True])
def test_an_id_that_is_none_is_refused_by_each_verb(bad):
    queue = queue_of([delay()])
    for verb in (
        queue.cancel,
        queue.job,
        queue.archive,
        queue.retry,
        queue.wait,
        queue.explain,
        lambda job: queue.resolve(job, happened=True),
        lambda job: queue.change_priority(job, 1),
    ):
        with pytest.raises(InvalidJob):
            verb(bad)


# Priority


def test_a_priority_change_reaches_the_opcodes_that_have_not_begun():
    queue = queue_of([delay(), delay(), delay()])
    begin(queue, 1)
    assert queue.change_priority(1, -20)
    assert [op.priority for op in queue.job(1).ops] == [0, -20, -20]


@pytest.mark.parametrize("bad", [-21, 20, "1", None, True, 1.0])
def test_a_priority_out_of_range_is_refused(bad):
    queue = queue_of([delay()])
    before = lsn(queue)
    assert not queue.change_priority(1, bad)
    assert lsn(queue) == before


def test_a_finished_jobs_priority_stays():
    queue = queue_of([delay()], [delay()])
    queue.cancel(1)
    queue.cancel(2)
    queue.archive(2)
    before = lsn(queue)
    assert "finished" in queue.change_priority(1, 1).text
    assert "archived" in queue.change_priority(2, 1).text
    assert lsn(queue) == before


# Retry


def test_a_retry_is_a_new_job_that_names_the_old_one():
    queue = queue_of([delay(1), delay(2)])
    run(queue, 1)
    run(queue, 1, 1, ok=False)
    assert queue.retry(1) == 2
    job = queue.job(2)
    assert job.retry_of == 1
    assert [op.input["duration"] for op in job.ops] == [1, 2]
    assert statuses(queue, 2) == ["queued", "queued"]
    assert queue.job(1).status == "error"


def test_a_retry_from_the_failed_opcode_leaves_out_what_succeeded():
    queue = queue_of([delay(1), delay(2), delay(3)])
    run(queue, 1)
    run(queue, 1, 1, ok=False)
    queue.retry(1, from_failed=True)
    assert [op.input["duration"] for op in queue.job(2).ops] == [2, 3]


def test_while_a_retry_is_unfinished_retrying_again_returns_it():
    queue = queue_of([delay()])
    queue.cancel(1)
    assert queue.retry(1) == 2
    before = lsn(queue)
    assert queue.retry(1, from_failed=True) == 2
    assert lsn(queue) == before
    run(queue, 2, ok=False)
    assert queue.retry(1) == 3
    assert queue.retry(2) == 4


def test_an_archived_job_can_be_retried():
    queue = queue_of([delay()])
    queue.cancel(1)
    queue.archive(1)
    assert queue.retry(1) == 2


def test_what_is_not_finished_or_not_there_can_not_be_retried():
    queue = queue_of([delay()], [delay()])
    run(queue, 2)
    with pytest.raises(Refused):
        queue.retry(1)
    with pytest.raises(Refused):
        queue.retry(2, from_failed=True)
    with pytest.raises(JobNotFound):
        queue.retry(9)


def test_a_retry_is_a_submission():
    queue = queue_of([delay()])
    queue.cancel(1)
    queue.drain()
    with pytest.raises(QueueDrained):
        queue.retry(1)


def test_a_retry_drops_dependencies_that_were_met():
    queue = queue_of([delay()])
    queue.submit([delay(depends=[[1, ["success"]]])])
    run(queue, 1)
    run(queue, 2, ok=False)
    queue.archive(1)
    queue.store.commit(Transaction("prune", (Pruned(1),)))
    queue.retry(2)
    assert not op_of(queue, 3)["input"]["depends"]


# Resolve


def test_resolving_what_is_not_there_says_so():
    queue = queue_of([delay()])
    with pytest.raises(JobNotFound):
        queue.resolve(9, happened=True)
    assert not queue.resolve(1, happened=True)
    queue.cancel(1)
    queue.archive(1)
    assert "archived" in queue.resolve(1, happened=False).text


# Archive


def test_only_finalized_jobs_are_archived_and_once():
    queue = queue_of([delay()])
    assert queue.archive(1) is False
    queue.cancel(1)
    assert queue.archive(1) is True
    assert queue.archive(1) is False
    assert queue.archive(9) is False
    assert queue.job(1).archived
    assert queue.count() == 0


def test_auto_archive_takes_all_that_are_old_enough():
    queue = new_queue()
    number = 2 * ARCHIVE_CHUNK + 7
    queue.submit_many([[delay()]] * (number + 2))
    for job in range(1, number + 1):
        queue.cancel(job)
    assert queue.auto_archive(1) == (0, 0)
    queue.clock.forward(1)
    run(queue, number + 1)
    assert queue.auto_archive(1) == (number, 0)
    assert [job.id for job in queue.jobs()] == [number + 1, number + 2]
    assert queue.auto_archive(0) == (1, 0)
    assert queue.count() == 1


def test_a_job_that_is_not_finished_is_never_archived_along():
    queue = queue_of([delay()], [delay()])
    queue.cancel(2)
    assert queue.ask(archive_many([1, 2, 2, 9], ended_before=NOON, now=NOON)) == 1
    assert not queue.job(1).archived


@pytest.mark.parametrize("age", [0, 0.0])
def test_an_age_of_zero_means_all(age):
    queue = queue_of([delay()])
    queue.cancel(1)
    assert queue.auto_archive(age) == (1, 0)


def test_an_age_that_is_no_number_of_seconds_is_refused():
    queue = queue_of([delay()])
    queue.cancel(1)
    for bad in (math.nan, "1", None, True, -1, -math.inf):
        with pytest.raises(InvalidJob):
            queue.auto_archive(bad)
    assert queue.auto_archive(math.inf) == (0, 0)
    assert queue.auto_archive(10**400) == (0, 0)


# Flags


def test_the_drain_says_why_by_whom_and_since_when():
    queue = new_queue()
    assert queue.drain_state() is None
    queue.drain("moving", by="bob")
    assert queue.drain_state() == {"reason": "moving", "by": "bob", "since": NOON / NS}
    queue.clock.forward(60)
    queue.drain("moving")
    assert queue.drain_state()["since"] == NOON / NS
    queue.drain("moved")
    assert queue.drain_state()["reason"] == "moved"
    queue.undrain()
    assert queue.drain_state() is None
    before = lsn(queue)
    queue.undrain()
    assert lsn(queue) == before


def test_the_pause_is_another_flag():
    queue = new_queue()
    queue.pause()
    assert queue.pause_state() == {"reason": None, "by": "alice", "since": NOON / NS}
    assert queue.drain_state() is None
    assert queue.submit([delay()]) == 1
    queue.resume()
    assert queue.pause_state() is None


@pytest.mark.parametrize("bad", [7, "x" * 1001, b"x"])
def test_a_reason_is_a_line_of_text(bad):
    queue = new_queue()
    with pytest.raises(InvalidJob):
        queue.drain(bad)
    with pytest.raises(InvalidJob):
        queue.pause(bad)
    assert lsn(queue) == 0


def test_drained_jobs_go_on():
    queue = queue_of([delay()], [delay()])
    token = begin(queue, 1)
    queue.drain()
    end(queue, 1, token)
    run(queue, 2)


def test_a_damaged_job_is_said_to_be_damaged():
    queue = queue_of([delay()])
    queue.store.commit(Transaction("q", (Quarantined(1, "job-1", "bad JSON"),)))
    assert "damaged" in queue.cancel(1).text
    with pytest.raises(JobNotFound, match="damaged"):
        queue.job(1)
    assert queue.submit([delay()]) == 2
