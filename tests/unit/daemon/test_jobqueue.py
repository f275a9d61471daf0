"""An embedded queue: claims, threads as workers, and what it refuses."""

import os
import subprocess
import sys
import threading
import time

import pytest

from jqueue import (
    ForkedQueue,
    InvalidJob,
    JobQueue,
    OpCode,
    QueueLocked,
    ResultWithJobs,
    connect,
    logical_unit,
)
from jqueue.daemon.calls import Lost
from jqueue.errors import Refused
from jqueue.queue.answer import ask
from jqueue.queue.running import start


class UnitTestEcho(OpCode):
    text: str
    fails: bool = False
    children: int = 0


@logical_unit(UnitTestEcho)
def echo(op, context):
    context.feedback(op.text)
    context.progress(1, 2, "half")
    if op.fails:
        raise ValueError(op.text)
    if op.children:
        answers = context.submit_many_jobs([[UnitTestEcho("early")]], name="early")
        return ResultWithJobs([[UnitTestEcho("late")], [{"OP_ID": 7}]], early=list(answers[0]))
    return op.text


class UnitTestStray(OpCode):
    pass


CONTEXTS = []


@logical_unit(UnitTestStray)
def stray(op, context):
    CONTEXTS.append(context)
    if len(CONTEXTS) > 1:
        # As a thread does that the unit before has left.
        for late in (
            lambda before: before.feedback("late"),
            lambda before: before.progress(1),
            lambda before: before.submit_many_jobs([[UnitTestStray()]]),
        ):
            with pytest.raises(RuntimeError, match="has ended"):
                late(CONTEXTS[0])


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process") as opened:
        yield opened


def test_run_until_idle_runs_all_there_is_in_threads(queue):
    ids = [queue.submit([UnitTestEcho(str(turn))]) for turn in range(20)]
    queue.run(workers=3, isolation="thread", until_idle=True)
    assert [queue.job(job).ops[0].result for job in ids] == [str(turn) for turn in range(20)]
    assert queue.job(1).ops[0].log[0][3] == "0"


# What a left thread said stood in the log of the next job, and its children were that job's.
def test_unit_that_has_returned_says_nothing_in_the_name_of_the_next(queue):
    jobs = [queue.submit([UnitTestStray()]) for _ in range(2)]
    queue.run(workers=1, isolation="thread", until_idle=True)
    assert [queue.job(job).status for job in jobs] == ["success", "success"]
    assert (queue.job(jobs[1]).ops[0].log, queue.count()) == ([], 2)


def test_children_of_both_kinds_run_too(queue):
    queue.submit([UnitTestEcho("parent", children=1)])
    queue.run(workers=2, isolation="thread", until_idle=True)
    result = queue.job(1).ops[0].result
    assert result["early"] == [True, 2]
    assert result["jobs"][0] == [True, 3]
    assert result["jobs"][1][0] is False
    assert [job.status for job in queue.jobs()] == ["success"] * 3


def test_idle_run_returns_at_once(queue):
    queue.run(isolation="thread", until_idle=True)
    queue.submit([{"OP_ID": "OP_UNKNOWN_HERE"}])
    queue.run(isolation="thread", until_idle=True)
    assert queue.job(1).status == "queued"


def test_run_stops_from_another_thread_and_can_run_again(queue):
    for _ in range(2):
        runner = threading.Thread(target=queue.run, kwargs={"isolation": "thread"})
        runner.start()
        job = queue.submit([UnitTestEcho("x")])
        assert queue.wait(job, 30).status == "success"
        queue.stop()
        runner.join(30)
        assert not runner.is_alive()


def test_units_of_a_program_run_in_processes(tmp_path):
    with JobQueue.open(tmp_path / "queue") as queue:
        job = queue.submit([{"OP_ID": "OP_EXEC", "argv": ["true"]}])
        path = tmp_path / "program.py"
        path.write_text(
            "import sys\n"
            "from jqueue import JobQueue, OpCode, logical_unit\n"
            "class FromProgram(OpCode):\n"
            "    x: int\n"
            "@logical_unit(FromProgram)\n"
            "def run(op, context):\n"
            "    return op.x + 1\n"
            "if __name__ == '__main__':\n"
            "    with JobQueue.open(sys.argv[1]) as queue:\n"
            "        job = queue.submit([FromProgram(1)])\n"
            "        queue.run(workers=1, until_idle=True)\n"
            "        print(queue.job(job).ops[0].result)\n"
        )
    done = subprocess.run(
        [sys.executable, path, tmp_path / "queue"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
    with JobQueue.open(tmp_path / "queue") as queue:
        assert queue.job(job).status == "success"


def test_claim_finishes_fails_and_releases(queue):
    for _ in range(3):
        queue.submit([{"OP_ID": "OP_MINE", "x": 1}])
    with queue.claim(["OP_MINE"]) as claim:
        assert (claim.job.id, claim.op.input["x"], claim.attempt) == (1, 1, 1)
        claim.feedback("here")
        claim.progress({"done": 1})
        claim.finish({"y": 2})
    assert queue.job(1).ops[0].result == {"y": 2}
    assert queue.job(1).ops[0].log[0][3] == "here"
    with queue.claim(["OP_MINE"]):
        pass
    assert queue.job(2).ops[0].attempts == 0
    with pytest.raises(ZeroDivisionError), queue.claim(["OP_MINE"]):
        raise ZeroDivisionError
    assert queue.job(2).status == "error"
    assert queue.claim(["OP_OTHER"]) is None
    assert len(os.listdir(os.path.join(queue.path, "livelocks"))) == 0


def test_claim_waits_for_a_submission(queue):
    found = []
    thread = threading.Thread(target=lambda: found.append(queue.claim(timeout_s=30)))
    thread.start()
    queue.submit([{"OP_ID": "OP_MINE"}])
    thread.join(30)
    assert found[0].job.id == 1
    found[0].finish()


def test_claim_waits_for_the_time_of_a_job(queue):
    queue.submit([{"OP_ID": "OP_MINE", "not_before": time.time() + 0.2}])
    assert queue.claim() is None
    claim = queue.claim(timeout_s=30)
    assert claim is not None
    claim.finish()


def test_claim_submits_its_children_with_its_result(queue):
    queue.submit([{"OP_ID": "OP_MINE"}])
    claim = queue.claim()
    claim.finish(ResultWithJobs([[{"OP_ID": "OP_MINE"}]]))
    assert queue.job(1).ops[0].result == {"jobs": [[True, 2]]}
    assert queue.claim().job.id == 2


def test_claimed_job_that_is_canceled_becomes_canceled_when_the_claim_ends(queue):
    queue.submit([{"OP_ID": "OP_MINE"}])
    claim = queue.claim()
    assert queue.cancel(1, kill=True)
    assert queue.job(1).status == "canceling"
    with pytest.raises(Refused):
        claim.finish()
    assert queue.job(1).status == "canceled"


def test_two_claims_never_get_the_same_opcode(queue):
    for _ in range(40):
        queue.submit([{"OP_ID": "OP_MINE"}])
    taken = []

    def work():
        while (claim := queue.claim()) is not None:
            taken.append(claim.job.id)
            claim.finish()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == list(range(1, 41))


def test_claims_over_the_socket(queue):
    queue.listen()
    queue.submit([{"OP_ID": "OP_MINE"}])
    with connect(queue.path) as client:
        with client.claim(["OP_MINE"]) as claim:
            claim.feedback("there")
            claim.finish(5)
        assert client.wait(1, 10).ops[0].result == 5
        assert client.claim(timeout_s=0.05) is None


# A repeated message doubled its line in the log, a repeated release raised an error.
def test_what_a_claimant_says_again_because_the_answer_was_lost_counts_once(queue):
    queue.listen()
    queue.submit([{"OP_ID": "OP_MINE"}])
    with connect(queue.path) as client:
        call, lost = client._reach._wire.call, []

        def call_and_lose(method, args):
            answer = call(method, args)
            if method.startswith("claim_") and method not in lost:
                lost.append(method)
                raise Lost("the answer")
            return answer

        client._reach._wire.call = call_and_lose
        with client.claim() as claim:
            claim.feedback("once")
        assert lost == ["claim_log", "claim_release"]
        op = client.job(1).ops[0]
        assert ([entry[3] for entry in op.log], op.status, op.attempts) == (["once"], "queued", 0)


def test_claim_of_what_was_canceled_is_given_back_in_silence(queue):
    queue.listen()
    queue.submit([{"OP_ID": "OP_MINE"}])
    with connect(queue.path) as client:
        with client.claim():
            assert client.cancel(1, kill=True)
        assert client.wait(1, 30).status == "canceled"


def test_claimant_that_vanishes_is_an_interruption(queue):
    queue.listen()
    queue.submit([{"OP_ID": "OP_MINE"}])
    client = connect(queue.path)
    claim = client.claim()
    client.close()
    claim._close()
    again = queue.claim(timeout_s=30)
    assert (again.job.id, again.attempt, again.job.ops[0].interruptions) == (1, 2, 1)
    with pytest.raises(Refused):
        claim.finish()
    again.finish()


def test_repeated_claim_with_the_same_livelock_gets_the_same_opcode(queue):
    queue.listen()
    for _ in range(2):
        queue.submit([{"OP_ID": "OP_MINE"}])
    client = connect(queue.path)
    claim = client.claim()
    name = queue.job(1).ops[0].to_dict()["livelock"]
    inode = os.stat(os.path.join(queue.path, "livelocks", name)).st_ino
    args = {"livelock_name": name, "inode": inode, "op_ids": None, "timeout_s": 0}
    again = client._reach.ask("claim", args)
    assert (again["document"]["id"], again["token"]) == (1, claim.token)
    claim.finish()
    client.close()


# An owner that only listened used to requeue what a daemon's worker had left, and end the living.
@pytest.mark.parametrize("over_the_socket", [True, False])
def test_an_owner_that_only_listens_leaves_what_was_running_until_somebody_claims(
    tmp_path, over_the_socket
):
    path = tmp_path / "queue"
    with JobQueue.open(path) as queue:
        job = queue.submit([{"OP_ID": "OP_MINE"}])
        decide = start(job, 0, now=1, livelock="worker-1-" + "0" * 24)
        ask(queue.store, decide)
    left = path / "livelocks" / ("worker-1-" + "0" * 24)
    left.parent.mkdir(mode=0o700, exist_ok=True)
    left.touch()
    with JobQueue.open(path, listen=True) as queue, connect(path) as client:
        assert client.status()["kinds"] == []
        assert client.job(job).status == "running"
        assert left.exists()
        claim = (client if over_the_socket else queue).claim(timeout_s=30)
        assert (claim.job.id, claim.attempt) == (job, 1)
        claim.finish()
        assert client.job(job).status == "success"


def test_known_kinds_are_checked_at_the_door(queue):
    with pytest.raises(InvalidJob, match="nonsense"):
        queue.submit([{"OP_ID": "OP_UNIT_TEST_ECHO", "text": "x", "nonsense": 1}])


def test_second_owner_is_told_who_the_first_is(queue):
    with pytest.raises(QueueLocked) as caught:
        JobQueue.open(queue.path)
    assert caught.value.holder["pid"] == os.getpid()


def test_forked_child_may_not_use_the_queue(queue):
    queue._opened_pid += 1
    with pytest.raises(ForkedQueue):
        queue.count()
    queue._opened_pid -= 1


def test_listing_over_the_socket_is_whole_and_in_order(queue):
    queue.listen()
    queue.submit_many([[{"OP_ID": "OP_MINE", "x": "y" * 100}] for _ in range(1500)])
    with connect(queue.path) as client:
        assert [job.id for job in client.jobs()] == list(range(1, 1501))
        assert [job.id for job in client.jobs(ids=[3, 1, 9999])] == [1, 3]
        assert client.count(statuses=["queued"]) == 1500
        listing = client.jobs()
        next(listing)
        listing.close()
        assert client.count() == 1500
