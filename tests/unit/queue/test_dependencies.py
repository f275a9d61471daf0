import pytest

from jqueue.errors import JobNotFound, Refused
from jqueue.job.change import Pruned, Submitted
from jqueue.job.dependency import Verdict
from jqueue.job.document import new_document
from jqueue.queue.dependencies import judge_dependencies
from jqueue.store.protocol import Transaction
from tests.unit.queue.making import NOON, begin, delay, end, lsn, new_queue, op_of, run, statuses


def judge(queue, job):
    return queue.ask(judge_dependencies(job, queue.clock.now_ns()))


def dependent(queue, wanted, target=1):
    return queue.submit([delay(depends=[[target, wanted]]), delay()])


def test_an_unfinished_target_is_waited_for_without_a_write():
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, [])
    before = lsn(queue)
    assert judge(queue, job) is Verdict.WAIT
    with pytest.raises(Refused, match="waiting for job 1"):
        begin(queue, job)
    token = begin(queue, 1)
    assert judge(queue, job) is Verdict.WAIT
    end(queue, 1, token)
    assert judge(queue, job) is Verdict.CONTINUE
    assert statuses(queue, job) == ["queued", "queued"]
    assert lsn(queue) == before + 2


@pytest.mark.parametrize(
    ("ending", "wanted", "verdict", "after"),
    [
        ("success", [], Verdict.CONTINUE, "queued"),
        ("error", [], Verdict.CONTINUE, "queued"),
        ("error", ["error"], Verdict.CONTINUE, "queued"),
        ("canceled", ["canceled"], Verdict.CONTINUE, "queued"),
        ("canceled", [], Verdict.CANCEL, "canceled"),
        ("canceled", ["success"], Verdict.CANCEL, "canceled"),
        ("error", ["success"], Verdict.WRONGSTATUS, "error"),
        ("success", ["error", "canceled"], Verdict.WRONGSTATUS, "error"),
    ],
)
def test_a_verdict_ends_the_job_or_lets_it_go(ending, wanted, verdict, after):
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, wanted)
    if ending == "canceled":
        queue.cancel(1)
    else:
        run(queue, 1, ok=ending == "success")
    assert judge(queue, job) is verdict
    assert statuses(queue, job) == [after, after]
    found = queue.job(job)
    assert found.finalized == (after != "queued")
    assert (found.ended is None) == (after == "queued")
    # Once ended there is nothing left to judge.
    before = lsn(queue)
    judge(queue, job)
    assert lsn(queue) == before


def test_a_wrong_status_is_the_opcodes_result_and_the_later_ones_fail_with_it():
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, ["success"])
    run(queue, 1, ok=False)
    judge(queue, job)
    assert "finished with status 'error'" in op_of(queue, job)["result"][1][0]
    assert op_of(queue, job, 1)["result"] == ["OpExecError", ["Preceding opcode failed"]]
    assert op_of(queue, job)["dependencies"] == {"1": "error"}


def test_archive_and_prune_of_the_target_do_not_change_the_verdict():
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, ["success"])
    run(queue, 1)
    queue.archive(1)
    assert judge(queue, job) is Verdict.CONTINUE
    queue.store.commit(Transaction("prune", (Pruned(1),)))
    assert judge(queue, job) is Verdict.CONTINUE
    run(queue, job)
    assert op_of(queue, job)["dependencies"] == {"1": "success"}


def test_a_target_that_was_lost_fails_its_dependents():
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, [])
    queue.store.commit(Transaction("lose", (Pruned(1),)))
    assert judge(queue, job) is Verdict.ERROR
    assert statuses(queue, job) == ["error", "error"]


def test_dependencies_may_sit_on_a_later_opcode():
    queue = new_queue()
    queue.submit([delay()])
    job = queue.submit([delay(), delay(depends=[[1, ["success"]]])])
    assert judge(queue, job) is Verdict.CONTINUE
    run(queue, job)
    assert judge(queue, job) is Verdict.WAIT
    run(queue, 1, ok=False)
    assert judge(queue, job) is Verdict.WRONGSTATUS
    assert statuses(queue, job) == ["success", "error"]


def test_a_running_opcode_is_not_judged_again():
    queue = new_queue()
    queue.submit([delay()])
    job = dependent(queue, [])
    run(queue, 1)
    begin(queue, job)
    assert judge(queue, job) is Verdict.CONTINUE
    with pytest.raises(JobNotFound):
        judge(queue, 99)


def test_what_runs_in_a_queue_taken_over_is_not_judged_whatever_became_of_its_target():
    queue = new_queue()
    queue.submit([delay()])
    queue.cancel(1)
    document = new_document(2, [delay(depends=[[1, ["success"]]])], now=NOON)
    document["ops"][0]["status"] = "running"
    queue.store.commit(Transaction("found", (Submitted(document),)))
    assert judge(queue, 2) is Verdict.CONTINUE
    assert statuses(queue, 2) == ["running"]


def test_the_fate_of_a_target_is_forgotten_with_its_last_dependent():
    queue = new_queue()
    queue.submit([delay()])
    first, second = dependent(queue, []), dependent(queue, [])
    run(queue, 1)
    assert queue.store.find("fate/1") == "success"
    queue.cancel(first)
    assert queue.store.find("fate/1") == "success"
    queue.cancel(second)
    assert queue.store.find("fate/1") is None
    assert queue.store.find("waited/1") is None


def test_a_retry_of_the_target_is_another_job_and_moves_nobodys_dependency():
    queue = new_queue()
    queue.submit([delay()])
    dependent(queue, ["success"])
    run(queue, 1, ok=False)
    again = queue.retry(1)
    assert judge(queue, 2) == "wrongstatus"
    run(queue, again)
    assert queue.job(2).status == "error"
