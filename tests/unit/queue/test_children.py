import pytest

from jqueue.errors import InvalidJob, Refused, SubmissionMismatch
from jqueue.queue.children import submit_children
from jqueue.queue.running import age, interrupted
from tests.unit.queue.making import NOON, begin, delay, end, lsn, new_queue, op_of


def parent(**parameters):
    queue = new_queue()
    queue.submit([delay(**parameters)])
    return queue, begin(queue, 1)


def submit(queue, token, jobs, call="1", **options):
    rule = submit_children(1, 0, token, call=call, jobs=jobs, now=NOON, **options)
    return queue.ask(rule)


def test_children_of_a_running_opcode_are_submitted_at_once():
    queue, token = parent()
    before = lsn(queue)
    assert submit(queue, token, [[delay()], [delay()]]) == [(True, 2), (True, 3)]
    assert lsn(queue) == before + 1
    assert queue.job(2).submitter == {"job": 1, "op": 0}


def test_the_same_call_of_a_later_run_gets_the_first_answer_refusals_included():
    queue, token = parent()
    first = submit(queue, token, [[delay()], []])
    queue.ask(interrupted(1, 0, token, now=NOON))
    token = begin(queue, 1)
    before = lsn(queue)
    assert submit(queue, token, [[delay()], []]) == first
    assert lsn(queue) == before
    assert submit(queue, token, [[delay()], []], call="2") != first
    assert submit(queue, token, [[delay()]], call="by name") == [(True, 4)]


def test_what_a_drained_queue_refused_stays_refused_in_a_later_run():
    queue, token = parent()
    queue.drain()
    first = submit(queue, token, [[delay()]])
    assert not first[0].ok
    queue.undrain()
    assert submit(queue, token, [[delay()]]) == first


def test_the_same_call_with_other_content_submits_nothing():
    queue, token = parent()
    submit(queue, token, [[delay(1)]])
    with pytest.raises(SubmissionMismatch) as caught:
        submit(queue, token, [[delay(2)]])
    assert (caught.value.job_id, caught.value.op_index, caught.value.call) == (1, 0, "1")
    assert queue.count() == 2


def test_a_digest_given_tells_the_content():
    queue, token = parent()
    submit(queue, token, [[delay(1)]], digest="a")
    assert submit(queue, token, [[delay(2)]], digest="a") == [(True, 2)]
    with pytest.raises(SubmissionMismatch):
        submit(queue, token, [[delay(1)]], digest="b")


def test_calls_of_different_opcodes_are_different_calls():
    queue = new_queue()
    queue.submit([delay(), delay()])
    token = begin(queue, 1)
    submit(queue, token, [[delay()]])
    end(queue, 1, token)
    token = begin(queue, 1, 1)
    rule = submit_children(1, 1, token, call="1", jobs=[[delay(7)]], now=NOON)
    assert queue.ask(rule) == [(True, 3)]


def test_an_execution_that_is_canceled_or_gone_submits_nothing():
    queue, token = parent()
    submit(queue, token, [[delay()]])
    for stale in (token + 5, 0):
        with pytest.raises(Refused):
            submit(queue, stale, [[delay()]], call="x")
    queue.cancel(1, kill=True)
    for call in ("1", "2"):
        with pytest.raises(Refused):
            submit(queue, token, [[delay()]], call=call)
    assert queue.count() == 2


def test_a_call_needs_a_name():
    for bad in (None, "", 7):
        with pytest.raises(InvalidJob):
            submit_children(1, 0, 1, call=bad, jobs=[], now=NOON)


# Inheritance


def child_op(queue, token, **parameters):
    [answer] = submit(queue, token, [[delay(**parameters)]])
    return op_of(queue, answer.value)


def test_a_child_inherits_comment_reason_and_priority():
    queue, token = parent(priority=-10, reason=[["user", "nightly", 1]])
    op = child_op(queue, token)
    assert op["input"]["comment"] == "Submitted by OP_TEST_DELAY"
    assert op["priority"] == -10
    assert op["input"]["reason"] == [
        ["user", "nightly", 1],
        ["jqueue:opcode:test_delay", "job=1;index=0", NOON],
        ["jqueue:opcode:test_delay", "job=2;index=0", NOON],
    ]


def test_a_child_keeps_what_it_sets_itself():
    queue, token = parent(priority=-10, reason=[["user", "nightly", 1]])
    op = child_op(queue, token, priority=0, comment="mine", reason=[["me", "too", 2]])
    assert op["input"]["comment"] == "mine"
    assert op["priority"] == 0
    assert op["input"]["reason"][0] == ["me", "too", 2]


def test_a_child_inherits_the_priority_last_set_not_the_aged_one():
    queue = new_queue()
    queue.submit([delay()])
    queue.change_priority(1, 7)
    queue.ask(age(1, 0))
    token = begin(queue, 1)
    assert op_of(queue, 1)["priority"] == 6
    assert child_op(queue, token)["priority"] == 7
