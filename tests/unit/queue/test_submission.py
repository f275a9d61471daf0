import gc
from dataclasses import dataclass

import pytest

from jqueue.errors import InvalidJob, KeyConflict, QueueDrained, QueueFull
from jqueue.job.change import KeySet, Pruned
from jqueue.job.opcode import OpCode
from jqueue.queue.entries import MAX_NAME_CHARS
from jqueue.queue.protocol import Submission
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


@dataclass
class Migrate(OpCode):
    image: str = ""


def test_ids_rise_by_one_from_one():
    queue = new_queue()
    assert [queue.submit([delay()]) for _ in range(3)] == [1, 2, 3]
    assert queue.status()["serial"] == 3


@pytest.mark.parametrize("on", [True, False])
def test_a_batch_leaves_the_collector_of_cycles_as_it_was(on, monkeypatch):
    queue = new_queue()
    seen = []
    monkeypatch.setattr(queue, "check", lambda _op: seen.append(gc.isenabled()))
    (gc.enable if on else gc.disable)()
    try:
        queue.submit_many([[delay()]])
        with pytest.raises(InvalidJob):
            queue.submit_many(3)
        assert (seen, gc.isenabled()) == ([False], on)
    finally:
        gc.enable()


def test_a_submitted_job_reads_back_as_it_was_given():
    queue = new_queue()
    job = queue.job(queue.submit([Migrate(image="vm7", priority=-10), delay(comment="why")]))
    assert [op.op_id for op in job.ops] == ["OP_MIGRATE", "OP_TEST_DELAY"]
    assert job.ops[0].input["image"] == "vm7"
    assert job.ops[1].input["comment"] == "why"
    assert job.priority == -10
    assert job.status == "queued"
    assert job.received.timestamp() * NS == NOON
    assert job.ops[1].input["reason"] == [["jqueue:opcode:test_delay", "job=1;index=1", NOON]]


def test_an_invalid_opcode_is_refused_with_its_place_and_changes_nothing():
    queue = new_queue()
    with pytest.raises(InvalidJob) as caught:
        queue.submit([delay(), delay(priority=5)])
    assert (caught.value.index, caught.value.field) == (1, "priority")
    for bad in ([], "text", {"OP_ID": "OP_X"}, None, 7, [[]]):
        with pytest.raises(InvalidJob):
            queue.submit(bad)
    assert lsn(queue) == 0


def test_parameters_are_checked_where_the_kind_is_known():
    def check(given):
        if "duration" not in given:
            raise InvalidJob("needs a duration", field="duration")

    queue = new_queue(check=check)
    with pytest.raises(InvalidJob) as caught:
        queue.submit([delay(), {"OP_ID": "OP_TEST_DELAY"}])
    assert (caught.value.index, caught.value.field) == (1, "duration")
    assert queue.submit_many([[delay()], [{"OP_ID": "OP_TEST_DELAY"}]]) == [
        (True, 1),
        (False, "opcode 0: needs a duration"),
    ]


def test_what_the_caller_does_to_its_input_later_changes_nothing():
    queue = new_queue()
    given = delay(names=["a"])
    queue.submit([given])
    given["names"].append("b")
    assert op_of(queue, 1)["input"]["names"] == ["a"]


def test_a_batch_is_one_transaction_whose_entries_are_refused_one_by_one():
    queue = new_queue()
    before = lsn(queue)
    answers = queue.submit_many([[delay()], [], [delay()], "x"])
    assert [answer.ok for answer in answers] == [True, False, True, False]
    assert [answer.value for answer in answers if answer] == [1, 2]
    assert "at least one opcode" in answers[1].value
    assert isinstance(answers[0], Submission)
    assert lsn(queue) == before + 1


def test_a_batch_without_an_accepted_entry_changes_nothing():
    queue = new_queue()
    assert queue.submit_many([]) == []
    assert not any(queue.submit_many([[], []], key="k"))
    assert lsn(queue) == 0
    assert queue.submit_many([[delay()]], key="k") == [(True, 1)]


@pytest.mark.parametrize("bad", [None, 7, "text", {"a": 1}])
def test_a_batch_that_is_no_list_is_refused(bad):
    with pytest.raises(InvalidJob, match="list of jobs"):
        new_queue().submit_many(bad)


def test_one_refusal_in_an_atomic_batch_submits_nothing_and_names_the_entry():
    queue = new_queue()
    with pytest.raises(InvalidJob, match="entry 1 of the submission") as caught:
        queue.submit_many([[delay()], [delay(retries=-1)]], atomic=True)
    assert (caught.value.index, caught.value.field) == (0, "retries")
    assert queue.count() == 0
    assert queue.submit_many([[delay()], [delay()]], atomic=True) == [(True, 1), (True, 2)]


def test_a_drained_queue_refuses_submissions_and_says_why():
    queue = new_queue()
    queue.drain("moving house")
    for submit in (
        lambda: queue.submit([delay()]),
        lambda: queue.submit_many([[delay()]]),
        lambda: queue.submit_many([[]]),
        lambda: queue.submit_many([]),
        lambda: queue.submit([delay()], key="k", unique="u"),
    ):
        with pytest.raises(QueueDrained, match="moving house"):
            submit()
    queue.undrain()
    assert queue.submit([delay()], key="k", unique="u") == 1


def test_a_submission_despite_the_drain_says_so_in_its_reason_trail():
    queue = new_queue()
    queue.submit([delay()], despite_drain=True)
    queue.drain()
    queue.submit([delay()], despite_drain=True)
    assert len(op_of(queue, 1)["input"]["reason"]) == 1
    assert op_of(queue, 2)["input"]["reason"][0] == ["jqueue:drain", "submitted despite", NOON]


def test_a_full_queue_refuses_until_jobs_are_archived():
    queue = new_queue(max_live_jobs=2)
    answers = queue.submit_many([[delay()]] * 3)
    assert answers[:2] == [(True, 1), (True, 2)]
    assert not answers[2]
    assert "2 live jobs" in answers[2].value
    with pytest.raises(QueueFull) as caught:
        queue.submit([delay()])
    assert caught.value.limit == 2
    queue.cancel(1)
    with pytest.raises(QueueFull):
        queue.submit([delay()])
    queue.archive(1)
    assert queue.submit([delay()]) == 3
    assert [answer.ok for answer in queue.submit_many([[delay()]])] == [False]


# Keys


def test_a_repeated_request_gets_the_first_ones_job():
    queue = new_queue()
    assert queue.submit([delay()], key="k") == 1
    before = lsn(queue)
    assert queue.submit([delay()], key="k") == 1
    assert lsn(queue) == before
    assert queue.submit([delay()], key="other") == 2
    assert queue.job(1).key == "k"


def test_a_repeated_request_is_answered_by_a_drained_or_full_queue_too():
    queue = new_queue(max_live_jobs=1)
    queue.submit([delay()], key="k")
    queue.drain()
    assert queue.submit([delay()], key="k") == 1


def test_other_content_under_the_same_key_is_a_conflict():
    queue = new_queue()
    queue.submit([delay(1)], key="k")
    with pytest.raises(KeyConflict) as caught:
        queue.submit([delay(2)], key="k")
    assert (caught.value.key, caught.value.job_id) == ("k", 1)
    assert queue.count() == 1


def test_the_order_of_parameters_and_their_spelling_make_no_other_content():
    queue = new_queue()
    queue.submit([{"OP_ID": "OP_TEST_DELAY", "duration": 1, "x": (1, 2)}], key="k")
    assert queue.submit([{"x": [1, 2], "duration": 1, "OP_ID": "OP_TEST_DELAY"}], key="k") == 1


def test_a_repeated_batch_gets_the_same_answers_refusals_included():
    queue = new_queue()
    first = queue.submit_many([[delay()], [], [delay()]], key="k")
    assert queue.submit_many([[delay()], [], [delay()]], key="k") == first
    with pytest.raises(KeyConflict):
        queue.submit_many([[delay()], [delay()], [delay()]], key="k")
    assert queue.count() == 2


def test_a_key_names_its_job_until_a_day_after_it_was_archived():
    queue = new_queue()
    queue.submit([delay()], key="k")
    queue.clock.forward(10 * 86_400)
    assert queue.submit([delay()], key="k") == 1
    queue.cancel(1)
    queue.archive(1)
    queue.clock.forward(86_400 - 1)
    assert queue.submit([delay()], key="k") == 1
    queue.clock.forward(1)
    assert queue.submit([delay(2)], key="k") == 2


def test_a_batchs_key_lasts_as_long_as_any_of_its_jobs_is_live():
    queue = new_queue()
    queue.submit_many([[delay()], [delay()]], key="k")
    queue.cancel(1)
    queue.archive(1)
    queue.clock.forward(2 * 86_400)
    assert queue.submit_many([[delay()], [delay()]], key="k") == [(True, 1), (True, 2)]


def test_a_document_says_under_which_request_it_came_so_that_keys_survive_the_loss_of_the_index():
    queue = new_queue()
    queue.submit([delay()], key="k")
    digest = queue.store.find("key/k")["digest"]
    assert queue.job(1).to_dict()["key_digest"] == digest
    queue.submit_many([[delay()], [delay()]], key="l")
    digest = queue.store.find("key/l")["digest"]
    assert [queue.job(job).to_dict()["key_digest"] for job in (2, 3)] == [digest] * 2


def test_a_batch_of_which_only_a_part_is_known_is_a_conflict_not_a_shorter_answer():
    queue = new_queue()
    queue.submit_many([[delay()], [delay()]], key="k")
    digest = queue.store.find("key/k")["digest"]
    queue.store.commit(Transaction("rebuilt", (KeySet("k", [1], digest),)))
    with pytest.raises(KeyConflict):
        queue.submit_many([[delay()], [delay()]], key="k")


@pytest.mark.parametrize("bad", ["", 7, b"k", "x" * (MAX_NAME_CHARS + 1), "\ud800"])
def test_keys_and_unique_names_are_short_texts(bad):
    queue = new_queue()
    for names in ({"key": bad}, {"unique": bad}):
        with pytest.raises(InvalidJob):
            queue.submit([delay()], **names)
    with pytest.raises(InvalidJob):
        queue.submit_many([[delay()]], key=bad)
    assert lsn(queue) == 0


def test_a_unique_name_stands_for_its_unfinished_job():
    queue = new_queue()
    assert queue.submit([delay()], unique="nightly") == 1
    assert queue.submit([delay(9)], unique="nightly") == 1
    token = begin(queue, 1)
    assert queue.submit([delay()], unique="nightly") == 1
    end(queue, 1, token)
    assert queue.submit([delay()], unique="nightly") == 2
    queue.cancel(2)
    assert queue.submit([delay()], unique="nightly") == 3


def test_a_key_that_met_a_unique_job_keeps_naming_it():
    queue = new_queue()
    queue.submit([delay()], unique="u")
    assert queue.submit([delay()], unique="u", key="k") == 1
    run(queue, 1)
    assert queue.submit([delay()], unique="u", key="k") == 1
    assert queue.submit([delay()], unique="u", key="l") == 2


# Dependencies at submission


def test_relative_dependencies_count_entries_as_given():
    queue = new_queue()
    queue.submit([delay()])
    answers = queue.submit_many(
        [[delay()], [delay(depends=[[-1, ["success"]]])], [delay(depends=[[-2, []], [1, []]])]]
    )
    assert [answer.value for answer in answers] == [2, 3, 4]
    assert op_of(queue, 3)["input"]["depends"] == [[2, ["success"]]]
    assert op_of(queue, 4)["input"]["depends"] == [[2, []], [1, []]]


def test_an_entry_that_depends_on_a_refused_one_is_refused_too():
    queue = new_queue()
    answers = queue.submit_many(
        [[], [delay(depends=[[-1, []]])], [delay(depends=[[-1, []]])], [delay()]]
    )
    assert [answer.ok for answer in answers] == [False, False, False, True]
    assert "was refused" in answers[1].value


@pytest.mark.parametrize(
    ("depends", "why"),
    [
        ([[99, []]], "above the serial"),
        ([[2, []]], "itself"),
        ([[-1, []]], "only 0 entries"),
        ([[0, []]], "depends must be"),
        ([[1, ["running"]]], "depends must be"),
    ],
)
def test_dependencies_that_can_never_be_met_are_refused(depends, why):
    queue = new_queue()
    queue.submit([delay()])
    before = lsn(queue)
    with pytest.raises(InvalidJob, match=why) as caught:
        queue.submit([delay(), delay(depends=depends)])
    assert (caught.value.index, caught.value.field) == (1, "depends")
    assert lsn(queue) == before


def test_a_dependency_on_a_job_that_is_gone_is_refused():
    queue = new_queue()
    queue.submit([delay()])
    queue.cancel(1)
    queue.archive(1)
    queue.submit([delay(depends=[[1, ["canceled"]]])])
    queue.store.commit(Transaction("prune", (Pruned(1),)))
    with pytest.raises(InvalidJob, match="does not exist"):
        queue.submit([delay(depends=[[1, []]])])
    # The one before it knew already what its target had come to.
    assert op_of(queue, 2)["dependencies"] == {"1": "canceled"}
    run(queue, 2)
    assert statuses(queue, 2) == ["success"]


def test_a_target_that_has_ended_is_recorded_at_once():
    queue = new_queue()
    queue.submit_many([[delay()], [delay()]])
    run(queue, 1, ok=False)
    queue.submit([delay(depends=[[1, []], [2, []]])])
    assert op_of(queue, 3)["dependencies"] == {"1": "error"}
