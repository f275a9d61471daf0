"""The worker protocol, row by row: the table of DESIGN section 8."""

import subprocess

import pytest

from jqueue.errors import DiskFull, InvalidJob, TooLarge
from jqueue.execution.executions import Worker
from jqueue.execution.wire import WORKER_VERSION
from jqueue.job.state import Layer
from jqueue.queue.answer import ask, together
from jqueue.queue.finishing import finish as queue_finish
from jqueue.queue.operating import cancel, set_pause
from jqueue.queue.running import start
from jqueue.queue.submission import Terms, submit_one
from jqueue.store import livelock, processes
from tests.unit.execution.house import claim, finish, told


def test_start_is_sent_only_when_its_record_is_durable_and_names_the_livelock(house):
    job, token = house.running()
    op = house.op(job)
    assert (op["status"], op["token"], op["livelock"]) == ("running", token, house.held[0].name)
    assert op["worker"]["pid"] == house.me.pid
    assert op["worker"]["inode"] == house.held[0].inode
    assert (op["attempts"], op["interruption"], op["max_interruptions"]) == (1, "requeue", 3)


def test_finish_is_answered_after_its_record_and_again_when_repeated(house):
    job, token = house.running()
    assert house.say(*finish(token, result=5)) == [["ok", token]]
    assert house.op(job)["result"] == 5
    house.hello(house.held[0], job, 0, token)
    assert house.say(*finish(token, result=5, again=True)) == [["ok", token]]
    assert house.op(job)["result"] == 5


def test_children_come_once_however_often_the_finish_is_sent(house):
    job, token = house.running()
    children = [[{"OP_ID": "OP_PORT_TEST"}]]
    for _ in range(3):
        assert house.say(*finish(token, result={}, children=children)) == [["ok", token]]
        house.hello(house.held[0], job, 0, token)
    assert house.op(job)["result"] == {"jobs": [[True, 2]]}
    assert house.store.find("serial") == 2


def test_finish_whose_append_failed_is_asked_for_again(house):
    job, token = house.running()
    house.loop.failing = DiskFull("full")
    assert house.say(*finish(token, result=1)) == []
    house.loop.failing = None
    house.loop.later.pop()()
    assert house.channel.take() == [["again", token]]
    assert house.say(*finish(token, result=1, again=True)) == [["ok", token]]
    assert house.op(job)["status"] == "success"


# A job too large for any record held up the loop for ever.
def test_result_that_no_record_holds_fails_the_opcode_and_is_not_tried_again(house):
    house.hello(house.lock())
    job = house.submit(retries=2)
    [start] = house.channel.take()
    house.fail_next(TooLarge("this"))
    assert house.say(*finish(start[3], result=1)) == [["ok", start[3]]]
    assert (house.op(job)["status"], house.op(job)["attempts"]) == ("error", 1)


def test_finish_that_no_record_holds_is_an_error_and_else_asked_for_again(house):
    job, token = house.running()
    failing = house.fail_next(TooLarge("this"), TooLarge("and the error"))
    assert house.say(*finish(token, result=1)) == []
    house.loop.later.pop()()
    assert house.channel.take() == [["again", token]]
    failing.append(TooLarge("this"))
    assert house.say(*finish(token, result=1, again=True)) == [["ok", token]]
    assert "can't be kept" in house.op(job)["result"][1][0]


def test_finish_is_answered_together_with_the_next_start(house):
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    ok, start = house.say(*finish(token, following=held))
    assert (ok, start[:3]) == (["ok", token], ["start", other, 0])
    assert house.op(job)["status"] == "success"
    assert house.op(other)["livelock"] == held.name
    # One record says both.
    assert start[3] == house.op_lsn(job) == house.op_lsn(other)
    # Without a job that waits, the worker is idle from then on.
    last = house.lock()
    assert house.say(*finish(start[3], following=last)) == [["ok", start[3]]]
    third = house.submit()
    [start] = house.channel.take()
    assert start[:3] == ["start", third, 0]
    assert house.op(third)["livelock"] == last.name


# A finish said again on another connection, before the first one was durable, was answered twice:
# by the second answer the owner forgot what the worker had begun meanwhile, and that ran for ever.
@pytest.mark.parametrize("again_as", ["hello", "again"])
def test_finish_that_comes_twice_before_its_record_is_durable_is_answered_once(house, again_as):
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    house.port.receive(list(finish(token, following=held)))
    house.runner.turn()
    if again_as == "hello":
        house.connect(house.held[0], job, 0, token)
        entry = [[1, 1], "message", "said again"]
        house.port.receive(["log", token, 1, [entry], True])
    house.port.receive(list(finish(token, again=True, following=held)))
    house.loop.turn()
    ok, start = house.channel.take()
    assert (ok, start[:3]) == (["ok", token], ["start", other, 0])
    # Asked for twice after a failed append, it comes once more after its answer.
    assert house.say(*finish(token, again=True, following=held)) == []
    [worker] = house.runner.crew.workers
    assert (worker.condemned, worker.execution.job) == (None, other)
    assert house.say(*finish(start[3], following=house.lock())) == [["ok", start[3]]]
    assert house.op(other)["status"] == "success"


# What the second one brought along was taken for what the worker has, and never given to it.
def test_finish_said_again_when_there_is_something_to_start_leaves_the_worker_with_the_first(house):
    job, token = house.running()
    held = house.lock()
    house.port.receive(list(finish(token, following=held)))
    other = ask(house.store, submit_one([{"OP_ID": "OP_PORT_TEST"}], Terms(1)))
    house.port.receive(list(finish(token, again=True, following=held)))
    house.loop.turn()
    ok, start = house.channel.take()
    assert (ok, start[:3]) == (["ok", token], ["start", other, 0])
    assert house.op(job)["status"] == "success"


def test_decline_that_comes_twice_before_its_record_is_durable_is_answered_once(house):
    job, token = house.running()
    other = house.submit()
    declined = list(decline(house, token))
    house.port.receive(declined)
    house.runner.turn()
    house.connect(house.held[0], job, 0, token)
    house.port.receive(declined)
    house.loop.turn()
    ok, start = house.channel.take()
    assert (ok, start[:3]) == (["ok", token], ["start", other, 0])
    assert [worker.condemned for worker in house.runner.crew.workers] == [None]


# What it had said last was refused after the finish, and the worker was ended for that.
def test_last_words_that_come_again_after_their_finish_was_kept_are_answered(house):
    job, token = house.running()
    house.say(*finish(token, following=house.lock()))
    house.connect(house.held[0], job, 0, token)
    house.port.receive(["log", token, 3, [[[1, 1], "message", "last"]], True])
    told = house.say(*finish(token, again=True, following=house.held[1]))
    assert told == [["logged", 3], ["ok", token]]


def test_start_beside_a_finish_that_is_refused_was_never_told(house):
    job, token = house.running()
    other = house.submit()
    ask(house.store, cancel(job, now=1, kill=True))
    told = house.say(*finish(token, following=house.lock()))
    assert "start" not in [message[0] for message in told]
    op = house.op(other)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)


def test_start_beside_a_finish_that_can_not_be_kept_was_never_told(house):
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    house.fail_next(DiskFull("both"), DiskFull("the finish"))
    assert house.say(*finish(token, following=held)) == []
    op = house.op(other)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)
    assert house.op(job)["status"] == "running"
    house.loop.later.pop()()
    assert house.channel.take() == [["again", token]]
    ok, start = house.say(*finish(token, again=True, following=held))
    assert (ok, start[:3], start[4]) == (["ok", token], ["start", other, 0], 1)
    assert house.op(job)["status"] == "success"


def test_finish_that_can_not_be_kept_with_the_next_start_is_kept_alone(house):
    job, token = house.running()
    other = house.submit()
    house.fail_next(TooLarge("both"))
    told = house.say(*finish(token, following=house.lock()))
    assert [message[0] for message in told] == ["ok", "start"]
    assert house.op_lsn(other) > house.op_lsn(job)
    assert house.op(other)["attempts"] == 1


def test_next_start_that_is_refused_leaves_the_finish_alone(house):
    job, token = house.running()
    other = house.submit()
    # Not known to the scheduler yet: in the state that rules are checked against it is canceled.
    house.loop.begin(cancel(other, now=1), lambda _: None)
    told = house.say(*finish(token, following=house.lock()))
    assert told == [["ok", token]]
    assert [house.op(one)["status"] for one in (job, other)] == ["success", "canceled"]
    third = house.submit()
    [start] = house.channel.take()
    assert start[:3] == ["start", third, 0]


def test_reserve_of_a_full_disk_pays_for_a_finish_and_not_for_the_next_start(house):
    job, token = house.running()
    other = house.submit()
    end = queue_finish(job, 0, token, now=3, ok=True)
    both = together(end, start(other, 0, now=3, livelock="m"))
    layer = Layer(house.store.ledger, 9)
    assert (end(layer).essential, both(layer).essential) == (True, False)


def test_next_livelock_that_is_not_in_this_queue_ends_the_worker(house):
    _, token = house.running()
    [told] = house.say(*finish(token, following=livelock.Livelock("worker-1-" + "a" * 24, 0, 1)))
    assert told[0] == "end"


def test_worker_whose_finish_is_unanswered_is_not_dismissed_by_an_orderly_stop(house):
    job, token = house.running()
    held = house.lock()
    house.port.receive(list(finish(token, following=held)))
    house.runner.stop()
    assert [worker.condemned for worker in house.runner.crew.workers] == [None]
    house.loop.turn()
    assert [message[0] for message in house.channel.take()] == ["ok", "end"]
    assert house.op(job)["status"] == "success"


def test_stale_finish_is_refused_and_the_worker_ends(house):
    job, token = house.running()
    [answer] = house.say(*finish(token + 1))
    assert answer[0] == "end"
    assert house.op(job)["status"] == "running"
    assert [worker.condemned for worker in house.runner.crew.workers]


def test_finish_of_a_canceling_opcode_is_refused_with_its_children(house):
    job, token = house.running()
    ask(house.store, cancel(job, now=1, kill=True))
    house.loop.turn()
    assert ["cancel", token] in house.channel.take()
    [answer, *_] = house.say(*finish(token, children=[[{"OP_ID": "OP_PORT_TEST"}]], result={}))
    assert answer[0] == "end"
    assert house.store.find("serial") == 1
    assert house.op(job)["status"] == "canceling"
    # Only now is nothing of it left.
    house.free(house.held[0])
    for worker in house.runner.crew.workers.copy():
        if worker.burial is not None:
            worker.burial.hurry()
    house.until("canceled", job)


def test_cancel_that_overtakes_the_answer_of_a_start_still_ends_it(house):
    house.hello(house.lock())
    job = ask(house.store, submit_one([{"OP_ID": "OP_PORT_TEST"}], Terms(1)))
    house.runner.turn()
    # Another thread cancels, and syncs both records, before the loop looks.
    house.store.begin(cancel(job, now=1, kill=True))
    house.store.flush()
    house.runner.wake()
    house.runner.turn()
    house.loop.turn()
    words = [message[0] for message in house.channel.take()]
    assert words[:2] == ["start", "cancel"]
    house.free(house.held[0])
    house.loop.later.pop()()
    house.until("canceled", job)


# A worker that had its grace from the owner before was killed at once by the next.
# The worker in the lost one's place began another job while that was still being ended.
def test_job_that_is_being_ended_keeps_its_place(stubborn_house):
    house = stubborn_house
    second = subprocess.Popen(["sleep", "600"], start_new_session=True)
    identity = processes.Identity.of(second.pid)
    job, _ = house.running()
    # What a claimant runs is its own affair.
    house.submit()
    answers, _ = claim(house, house.lock())
    house.loop.turn()
    assert len(answers) == 1
    other = house.submit()
    house.runner.crew._launch = lambda: Worker(identity, process=second)
    ask(house.store, cancel(job, now=1, kill=True))
    house.loop.turn()
    [lost] = [worker for worker in house.runner.crew.workers if worker.condemned]
    house.me = identity
    assert house.hello(house.lock()) == []
    assert (house.op(job)["status"], house.op(other)["status"]) == ("canceling", "queued")
    lost.burial.hurry()
    house.free(house.held[0])
    house.until("running", other)
    assert house.op(job)["status"] == "canceled"
    second.kill()
    second.wait()


def test_submission_in_mid_execution_gets_its_first_answer_again(house):
    job, token = house.running()
    jobs = [[{"OP_ID": "OP_PORT_TEST"}], {"refused": "it was wrong"}]
    first = house.say("submit", token, "1", jobs)
    assert first == [["submitted", "1", [[True, 2], [False, "it was wrong"]]]]
    assert house.say("submit", token, "1", jobs) == first
    [refused] = house.say("submit", token, "1", [[{"OP_ID": "OP_PORT_TEST"}], []])
    assert refused[:3] == ["refused", "1", "SubmissionMismatch"]
    assert house.store.find("serial") == 2
    assert house.op(job)["status"] == "running"


# While there was no room a submission came twice; its second answer ended the worker.
@pytest.mark.parametrize("goes_on", [False, True])
def test_submission_that_is_answered_twice_harms_nobody(house, goes_on):
    _, token = house.running()
    other, held = house.submit(), house.lock()
    waiting = []
    house.loop.begin_submission = lambda *submission: waiting.append(submission)
    for _ in range(2):
        assert house.say("submit", token, "1", [[{"OP_ID": "OP_PORT_TEST"}]]) == []
    first, second = waiting
    house.loop.begin(*first)
    if goes_on:
        house.loop.turn()
        house.say(*finish(token, following=held))
        assert house.op(other)["status"] == "running"
        house.channel.take()
    house.loop.begin(*second)
    house.loop.turn()
    answer = ["submitted", "1", [[True, 3]]]
    assert house.channel.take() == ([] if goes_on else [answer, answer])
    assert [worker.condemned for worker in house.runner.crew.workers] == [None]
    assert house.store.find("serial") == 3


def test_log_entries_that_arrived_before_are_not_doubled(house):
    job, token = house.running()
    entries = [[[1, 2], "message", "a"], [[1, 3], "message", "b"]]
    assert house.say("log", token, 1, entries[:1], False) == [["logged", 1]]
    assert house.say("log", token, 2, entries, True) == [["logged", 2]]
    assert [entry[3] for entry in house.op(job)["log"]] == ["a", "b"]


def test_entries_and_progress_go_along(house):
    job, token = house.running()
    assert house.say("progress", token, {"done": 1}) == []
    assert house.op(job)["progress"] == {"done": 1}
    entries = [[[1, 2], "message", "last"]]
    house.say("finish", token, entries, True, None, None, "report", False)
    assert house.op(job)["log"][0][3] == "last"


def test_idle_worker_gets_nothing_while_the_queue_is_paused(house):
    house.hello(house.lock())
    ask(house.store, set_pause({"reason": None, "by": "me", "since": 1}))
    house.submit()
    assert house.channel.take() == []
    ask(house.store, set_pause(None))
    house.loop.turn()
    assert house.channel.take()[0][0] == "start"


@pytest.mark.parametrize(
    "message",
    [[], {}, None, ["unknown"], ["finish"], ["log", 1], ["idle", "../x", 1, 2], [["a"]], "start"],
)
def test_nonsense_of_a_worker_is_refused_with_a_clear_error(house, message):
    house.running()
    with pytest.raises(InvalidJob):
        house.port.receive(message)


@pytest.mark.parametrize(
    "wrong", [{"pid": 1}, {"livelock": "../../etc"}, {"start_time": None}, {"boot_id": 5}]
)
def test_hello_must_name_its_own_process_and_livelock(house, wrong):
    with pytest.raises(InvalidJob):
        house.hello(house.lock(), **wrong)


def test_worker_of_an_unknown_version_is_sent_away(house):
    [answer] = house.hello(house.lock(), version=WORKER_VERSION + 1)
    assert answer[0] == "end"


# What a worker's code can't carry out


def decline(house, token, why="no"):
    held = house.lock()
    return "decline", token, why, [held.name, held.inode]


def test_declined_opcode_is_given_back_uncounted_and_waits_with_the_reason(house):
    job, token = house.running()
    other = house.submit()
    ok, start = house.say(*decline(house, token, "no such kind here"))
    assert ok == ["ok", token]
    assert start[:2] == ["start", other]
    op = house.op(job)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)
    declined = told(house, job)["declined"]
    assert "no such kind here" in declined["text"]
    assert "restarted" in declined["until"]
    house.open()
    assert "declined" not in told(house, job)


def test_decline_is_answered_once_and_what_is_declined_may_be_canceled(house):
    job, token = house.running()
    assert house.say(*decline(house, token)) == [["ok", token]]
    assert house.say(*decline(house, token)) == []
    assert ask(house.store, cancel(job, now=1))
    # The answer was lost: what it was given is not its own any more.
    [answer] = house.hello(house.held[0], job, 0, token)
    assert answer[0] == "end"
    assert house.op(job)["status"] == "canceled"


def test_decline_of_a_canceling_opcode_is_refused(house):
    job, token = house.running()
    ask(house.store, cancel(job, now=1, kill=True))
    assert ["end"] in [answer[:1] for answer in house.say(*decline(house, token))]
    house.free(house.held[0])
    house.until("canceled", job)


def test_decline_whose_record_failed_is_asked_for_again(house):
    job, token = house.running()
    house.loop.failing = DiskFull("full")
    assert house.say(*decline(house, token)) == []
    house.loop.failing = None
    house.loop.later.pop()()
    assert house.channel.take() == [["again", token]]
    assert house.say(*decline(house, token)) == [["ok", token]]
    assert house.op(job)["status"] == "queued"


def test_worker_that_is_launched_later_may_take_what_was_declined(house):
    job, token = house.running()
    house.say(*decline(house, token))
    [worker] = house.runner.crew.workers
    worker.greeted = False
    [start] = house.hello(house.lock())
    assert start[:2] == ["start", job]
