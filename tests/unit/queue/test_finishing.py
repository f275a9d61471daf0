import pytest

from jqueue.errors import InvalidJob, Refused
from jqueue.job.failure import encode_error
from jqueue.queue.finishing import JITTER, MAX_BACKOFF_S, Finished, backoff_s, jitter
from jqueue.queue.running import interrupted
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

FAILED = encode_error("disk on fire")


def one_running(**parameters):
    queue = new_queue()
    queue.submit([delay(**parameters), delay()])
    return queue, begin(queue, 1)


def test_a_finish_is_one_record_and_the_next_opcode_may_start():
    queue, token = one_running()
    before = lsn(queue)
    assert end(queue, 1, token, result={"n": 1}) == Finished("success")
    assert lsn(queue) == before + 1
    assert op_of(queue, 1)["result"] == {"n": 1}
    assert queue.job(1).ops[0].ended is not None
    assert queue.job(1).ended is None
    run(queue, 1, 1)
    assert queue.job(1).status == "success"
    assert queue.job(1).ended is not None


def test_after_a_failed_opcode_the_later_ones_fail_too():
    queue, token = one_running()
    assert end(queue, 1, token, ok=False, result=FAILED).status == "error"
    assert statuses(queue, 1) == ["error", "error"]
    assert op_of(queue, 1)["result"] == FAILED
    assert op_of(queue, 1, 1)["result"] == encode_error("Preceding opcode failed")


def test_a_repeated_finish_is_answered_without_a_record():
    queue, token = one_running()
    first = end(queue, 1, token, result=1, children=[[delay()], []])
    before = lsn(queue)
    assert end(queue, 1, token, result=1, children=[[delay()], []]) == first
    assert end(queue, 1, token, ok=False) == first
    assert lsn(queue) == before
    assert queue.count() == 2


def test_a_repeated_finish_is_answered_after_its_job_was_archived_too():
    queue = new_queue()
    queue.submit([delay()])
    token = begin(queue, 1)
    end(queue, 1, token)
    queue.archive(1)
    assert end(queue, 1, token) == Finished("success")


def test_a_finish_under_another_token_is_refused():
    queue, token = one_running()
    before = lsn(queue)
    for other in (token + 1, token - 1, 0):
        with pytest.raises(Refused):
            end(queue, 1, other)
    for job, op in ((1, 1), (1, 9), (1, -1), (9, 0)):
        with pytest.raises(Refused):
            end(queue, job, token, op)
    assert lsn(queue) == before


def test_a_finish_after_the_cancellation_is_refused_with_its_children():
    queue, token = one_running()
    queue.cancel(1, kill=True)
    with pytest.raises(Refused):
        end(queue, 1, token, children=[[delay()]])
    assert queue.count() == 1


def test_a_result_that_json_can_not_hold_is_refused_before_anything_changes():
    queue, token = one_running()
    with pytest.raises(InvalidJob):
        end(queue, 1, token, result={"when": object()})
    assert statuses(queue, 1) == ["running", "queued"]


# Retries


def test_a_failed_opcode_with_retries_left_is_queued_again_after_a_backoff():
    queue, token = one_running(retries=2)
    assert end(queue, 1, token, ok=False, result=FAILED) == Finished("queued")
    op = op_of(queue, 1)
    assert op["status"] == "queued"
    assert op["result"] is None
    assert abs(op["retry_at"] - NOON / NS - 1) <= JITTER
    assert "disk on fire" in queue.job(1).ops[0].log[0][3]
    assert run(queue, 1, ok=False, retry_delay_s=0).status == "queued"
    assert run(queue, 1, ok=False, result=FAILED).status == "error"
    assert op_of(queue, 1)["attempts"] == 3
    assert op_of(queue, 1)["result"] == FAILED


def test_a_repeated_finish_of_a_failed_attempt_is_answered_until_the_next_attempt():
    queue, token = one_running(retries=1)
    end(queue, 1, token, ok=False, retry_delay_s=0)
    before = lsn(queue)
    assert end(queue, 1, token, ok=False) == Finished("queued")
    assert lsn(queue) == before
    begin(queue, 1)
    with pytest.raises(Refused):
        end(queue, 1, token, ok=False)


def test_the_units_retries_count_where_the_opcode_has_none():
    queue = new_queue()
    queue.submit([delay()])
    token = begin(queue, 1, retries=1)
    assert end(queue, 1, token, ok=False, retry_delay_s=0).status == "queued"
    assert end(queue, 1, begin(queue, 1, retries=1), ok=False).status == "error"


def test_interruptions_use_up_no_retries():
    queue, token = one_running(retries=1)
    queue.ask(interrupted(1, 0, token, now=NOON))
    assert run(queue, 1, ok=False, retry_delay_s=0).status == "queued"
    assert run(queue, 1, ok=False).status == "error"


def test_what_failed_together_is_not_repeated_together():
    factors = [jitter(job, 0, 7) for job in range(1, 200)]
    assert all(1 - JITTER <= factor <= 1 + JITTER for factor in factors)
    assert len(set(factors)) == len(factors)
    assert max(factors) - min(factors) > JITTER
    assert jitter(1, 0, 7) == jitter(1, 0, 7)


def test_the_backoff_doubles_up_to_its_limit():
    assert [backoff_s(n) for n in (1, 2, 3)] == [1, 2, 4]
    assert backoff_s(1000) == MAX_BACKOFF_S


# Results with jobs


def test_a_result_and_its_children_are_one_transaction():
    queue, token = one_running()
    before = lsn(queue)
    answer = end(queue, 1, token, result={"more": 1}, children=[[delay()], [], [delay()]])
    assert lsn(queue) == before + 1
    assert answer.children[0] == (True, 2)
    assert answer.children[2] == (True, 3)
    result = op_of(queue, 1)["result"]
    assert result["jobs"][0] == [True, 2]
    assert result["jobs"][1][0] is False
    assert "at least one opcode" in result["jobs"][1][1]
    assert result["jobs"][2] == [True, 3]
    assert result["more"] == 1
    assert queue.job(2).submitter == {"job": 1, "op": 0}


def test_a_result_with_no_jobs_says_so():
    queue, token = one_running()
    end(queue, 1, token, children=[])
    assert op_of(queue, 1)["result"] == {"jobs": []}


def test_with_on_refusal_error_one_refused_entry_means_no_child_and_a_failed_opcode():
    queue, token = one_running()
    answer = end(queue, 1, token, children=[[delay()], []], on_refusal="error")
    assert answer == Finished("error")
    assert queue.count() == 1
    assert "at least one opcode" in op_of(queue, 1)["result"][1][0]


def test_with_on_refusal_error_a_refused_entry_is_a_retryable_failure():
    queue, token = one_running(retries=1)
    queue.drain()
    answer = end(queue, 1, token, children=[[delay()]], on_refusal="error", retry_delay_s=0)
    assert answer == Finished("queued")
    queue.undrain()
    answer = end(queue, 1, begin(queue, 1), children=[[delay()]], on_refusal="error")
    assert answer == Finished("success", ((True, 2),))


def test_a_drained_or_full_queue_refuses_children_one_by_one_and_the_opcode_succeeds():
    queue, token = one_running()
    queue.drain("moving")
    answer = end(queue, 1, token, children=[[delay()], []])
    assert answer.status == "success"
    assert [child.ok for child in answer.children] == [False, False]
    assert "moving" in answer.children[0].value
    assert "at least one opcode" in answer.children[1].value

    queue, token = one_running()
    answer = end(queue, 1, token, children=[[delay()], [delay()]], max_live_jobs=2)
    assert [child.ok for child in answer.children] == [True, False]


def test_a_failed_opcode_has_no_children():
    queue, token = one_running()
    assert end(queue, 1, token, ok=False, children=[[delay()]]).children == ()
    assert queue.count() == 1


def test_children_may_depend_on_each_other_and_on_their_parent():
    queue = new_queue()
    queue.submit([delay()])
    token = begin(queue, 1)
    answer = end(
        queue,
        1,
        token,
        children=[[delay()], [delay(depends=[[-1, ["success"]]])], [delay(depends=[[1, []]])]],
    )
    assert [child.value for child in answer.children] == [2, 3, 4]
    assert op_of(queue, 3)["input"]["depends"] == [[2, ["success"]]]
    assert queue.store.find("fate/1") == "success"
    run(queue, 4)
    assert statuses(queue, 4) == ["success"]


def test_a_worker_may_say_of_an_entry_that_it_is_refused():
    queue, token = one_running()
    answer = end(queue, 1, token, children=[{"refused": "not JSON"}, [delay()]])
    assert answer.children == ((False, "not JSON"), (True, 2))
