"""The worker protocol, row by row, on a memory store: the table of DESIGN section 8."""

import os
import signal
import subprocess

import pytest

from jqueue.errors import DiskFull, InvalidJob, TooLarge
from jqueue.execution.claims import Claims
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Lock, Options, Worker
from jqueue.execution.explaining import explain
from jqueue.execution.port import greet
from jqueue.execution.recovery import recover
from jqueue.execution.runner import Runner
from jqueue.execution.units import Unit
from jqueue.execution.wire import WORKER_VERSION
from jqueue.job.opcode import OpCode
from jqueue.queue.answer import ask
from jqueue.queue.clock import SystemClock
from jqueue.queue.explain import explain as explain_queue
from jqueue.queue.operating import cancel, set_drain, set_pause
from jqueue.queue.submission import Terms, submit_one
from jqueue.store import livelock, processes
from jqueue.store.memory import MemoryStore
from tests.unit.execution.hands import FakeChannel, HandLoop


class PortTest(OpCode):
    name: str = ""


def locks_of(op):
    return {op.name: "exclusive"} if op.name else {}


UNITS = {"OP_PORT_TEST": Unit(PortTest, print, locks_of)}


class House:
    """An owner without a socket: workers are channels that the test speaks for."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        # A process to be signaled in a worker's stead; the test holds its livelocks and speaks.
        self.process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.me = processes.Identity.of(self.process.pid)
        self.store = MemoryStore()
        self.held = []
        self.open()
        self.runner.crew.launch_missing()

    def open(self):
        self.loop = HandLoop(self.store)
        dispatcher = Dispatcher(self.store, UNITS, SystemClock())
        options = Options(workers=1, kinds=frozenset(UNITS))
        self.runner = Runner(
            self.loop,
            self.store,
            dispatcher,
            SystemClock(),
            self.fd,
            options,
            lambda: Worker(self.me, process=self.process),
            max_live_jobs=100,
        )
        self.claims = Claims(self.runner)
        self.loop.after_turn = self.runner.turn
        self.port = None

    def submit(self, **common):
        job = ask(self.store, submit_one([{"OP_ID": "OP_PORT_TEST", **common}], Terms(1)))
        self.loop.turn()
        return job

    def lock(self):
        held = livelock.take(self.fd, "worker")
        self.held.append(held)
        return held

    def hello(self, lock, job=0, op=0, token=0, **other):
        self.connect(lock, job, op, token, **other)
        self.loop.turn()
        return self.channel.take()

    def connect(self, lock, job=0, op=0, token=0, **other):
        """A worker connects and says hello; what it was told before is lost."""
        self.channel = FakeChannel()
        hello = {
            "version": WORKER_VERSION,
            **self.me.to_dict(),
            "livelock": lock.name,
            "inode": lock.inode,
            "job": job,
            "op": op,
            "token": token,
            **other,
        }
        self.port = greet(self.runner, self.channel, hello, self.me.pid)

    def say(self, *message):
        self.port.receive(list(message))
        self.loop.turn()
        return self.channel.take()

    def op(self, job):
        return self.store.find(job).document["ops"][0]

    def op_lsn(self, job):
        return self.store.find(job).lsn

    def running(self):
        """A worker with a started opcode; returns job and token."""
        lock = self.lock()
        assert self.hello(lock) == []
        job = self.submit()
        [start] = self.channel.take()
        assert start[:3] == ["start", job, 0]
        return job, start[3]

    def free(self, held):
        livelock.release(self.fd, held)
        self.held.remove(held)

    def close(self):
        left = [one for one in self.runner.endings.executions.values() if not one.is_in_hand]
        self.process.kill()
        self.process.wait()
        for held in self.held:
            os.close(held.fd)
        os.close(self.fd)
        assert left == [], "nobody will end these"

    def until(self, status, job):
        """Turn until the opcode has this status."""
        for _ in range(3000):
            if self.op(job)["status"] == status:
                return
            self.loop.wait()
        raise AssertionError(self.op(job))


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


@pytest.fixture
def stubborn_house(tmp_path):
    """Its process heeds no SIGTERM: a mask of signals is inherited."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    made = House(tmp_path)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    yield made
    made.close()


def finish(token, ok=True, result=None, children=None, again=False, following=None):
    message = "finish", token, [], ok, result, children, "report", again
    return message if following is None else (*message, [following.name, following.inode])


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
def test_finish_that_no_record_holds_is_an_error_and_else_asked_for_again(house):
    job, token = house.running()
    begin, failing = house.loop.begin, [TooLarge("this"), TooLarge("and the error")]

    def begin_failing(decide, then):
        if failing:
            house.loop.begun.append((None, then, failing.pop()))
        else:
            begin(decide, then)

    house.loop.begin = begin_failing
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
    # The start's record follows the finish's at once, and needs no sync of its own.
    assert start[3] == house.op_lsn(job) + 1
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
    held, begin = house.lock(), house.loop.begin

    def begin_failing(decide, then):
        house.loop.begin = begin
        house.loop.begun.append((None, then, DiskFull("full")))

    house.loop.begin = begin_failing
    assert house.say(*finish(token, following=held)) == []
    op = house.op(other)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)
    assert house.op(job)["status"] == "running"
    house.loop.later.pop()()
    assert house.channel.take() == [["again", token]]
    # The livelock's name stands in a record: it is not used again, so the worker goes.
    told = house.say(*finish(token, again=True, following=held))
    assert [message[0] for message in told] == ["ok", "end"]
    assert house.op(job)["status"] == "success"


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


def test_next_owner_ends_a_worker_that_was_not_told_of_its_next_start(house):
    job, token = house.running()
    other = house.submit()
    held = house.lock()
    house.say(*finish(token, following=held))
    # The owner dies before it could send: the worker names what it has finished.
    house.open()
    recover(house.runner)
    [told] = house.hello(house.held[0], job, 0, token)
    assert told[0] == "end"
    house.free(held)
    house.free(house.held[0])
    house.until("queued", other)
    op = house.op(other)
    assert (op.get("attempts", 0), op.get("interruptions", 0)) == (0, 0)
    assert house.op(job)["status"] == "success"


def test_next_owner_believes_a_worker_that_is_still_at_the_finish_of_the_one_before(house):
    # Both records say that the worker runs it: the finish between them was not kept.
    job, token = house.running()
    other = house.submit()
    held, begin = house.lock(), house.loop.begin
    kept = []

    def begin_failing(decide, then):
        house.loop.begin = kept.append if kept else begin
        house.loop.begun.append((None, then, DiskFull("full")))

    house.loop.begin = begin_failing
    house.runner.endings.judge = kept.append  # the owner dies before it can take the start back
    house.say(*finish(token, following=held))
    assert [house.op(one)["status"] for one in (job, other)] == ["running", "running"]
    house.open()
    recover(house.runner)
    assert house.hello(house.held[0], job, 0, token) == []
    op = house.op(other)
    assert (op["status"], op.get("attempts", 0), op.get("interruptions", 0)) == ("queued", 0, 0)
    told = house.say(*finish(token, again=True, following=house.lock()))
    assert told[0] == ["ok", token]
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


def test_worker_that_is_being_canceled_has_its_grace_from_the_next_owner_too(house):
    job, token = house.running()
    ask(house.store, cancel(job, now=1, kill=True))
    house.process.send_signal(signal.SIGSTOP)  # as if it needed a while: it takes no SIGTERM
    os.waitpid(house.process.pid, os.WUNTRACED)  # not before it has stopped
    house.open()
    assert [one["fate"] for one in recover(house.runner)] == ["kill"]
    assert house.hello(house.held[0], job, 0, token) == [["cancel", token]]
    entries = [[[1, 2], "message", "last words"]]
    assert ["logged", 1] in house.say("log", token, 1, entries, False)
    assert house.process.poll() is None
    house.loop.later.pop()()
    house.free(house.held[0])
    house.until("canceled", job)
    assert house.op(job)["log"][0][3] == "last words"
    assert house.process.poll() is not None


def test_idle_worker_with_a_record_on_it_denies_what_was_never_begun(house):
    job, _ = house.running()
    house.port.closed()
    house.hello(house.held[0])
    assert house.op(job)["status"] == "running"
    house.free(house.held[0])
    house.until("queued", job)
    op = house.op(job)
    assert (op.get("attempts", 0), op.get("interruptions", 0), len(op["log"])) == (0, 0, 0)
    assert house.process.poll() is not None


def test_dead_worker_is_judged_only_when_its_livelock_is_free(house):
    job, _ = house.running()
    house.process.kill()
    for _ in range(10):
        house.loop.wait()
    assert house.op(job)["status"] == "running"
    house.free(house.held[0])
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_what_a_worker_sent_before_it_died_is_read_before_it_is_judged(house):
    job, token = house.running()
    unread = [list(finish(token, result="in time"))]
    house.channel.read_out = lambda: unread and house.port.receive(unread.pop())
    house.process.kill()
    house.free(house.held[0])
    house.until("success", job)
    assert house.op(job)["result"] == "in time"
    assert house.op(job).get("interruptions", 0) == 0


# It counted as one of those that are wanted, and nothing ever started.
def test_worker_that_hangs_while_it_loads_its_units_is_killed_and_replaced_later(house, caplog):
    crew = house.runner.crew
    [worker] = crew.workers
    [limit] = house.loop.later
    limit()
    assert "still loading its units after 60 s" in worker.condemned
    assert "still loading its units" in crew.launch_failure
    assert "still loading its units" in caplog.text
    # Killed at once; and nobody is launched in its stead before some time.
    assert house.process.wait(20) == -signal.SIGKILL
    while crew.workers:
        house.loop.wait()
    [again] = [timer for timer in house.loop.later if timer.call is not None]
    again()
    assert [worker.condemned for worker in crew.workers] == [None]


def test_worker_that_says_hello_in_time_has_no_limit_any_more(house):
    [limit] = house.loop.later
    house.hello(house.lock())
    limit()
    assert [worker.condemned for worker in house.runner.crew.workers] == [None]


def test_silent_worker_is_condemned_and_killed(house):
    job, _ = house.running()
    house.port.closed()
    house.free(house.held[0])
    house.loop.later.pop()()
    house.until("queued", job)
    assert house.process.poll() is not None


def test_worker_that_comes_back_with_its_token_goes_on(house):
    job, token = house.running()
    house.port.closed()
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result="late")) == [["ok", token]]
    assert house.op(job)["result"] == "late"


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


def test_new_owner_adopts_a_living_worker_and_what_it_executes(house):
    job, token = house.running()
    house.open()
    [described] = recover(house.runner)
    assert described["fate"] == "adopt"
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result="adopted", again=True)) == [["ok", token]]
    assert house.op(job)["result"] == "adopted"


# An adopted worker that was lost never counted: no limit held for what ends its worker each time.
@pytest.mark.parametrize("silent", [True, False])
def test_worker_that_is_lost_after_its_adoption_is_an_interruption_that_counts(house, silent):
    job, token = house.running()
    house.open()
    recover(house.runner)
    if silent:
        house.loop.later.pop()()
    else:
        house.hello(house.held[0], job, 0, token)
        house.process.kill()
    house.free(house.held[0])
    house.until("queued", job)
    assert (house.op(job)["attempts"], house.op(job)["interruptions"]) == (1, 1)
    assert house.process.poll() is not None


# A worker that came back after its time was over went on for ever, if it heeded no SIGTERM.
def test_worker_that_says_hello_after_its_time_was_over_is_still_ended(stubborn_house):
    house = stubborn_house
    house.hello(house.lock())
    job = house.submit(timeout_s=0.5)
    [start] = house.channel.take()
    house.open()
    recover(house.runner)
    _, over = house.loop.later
    over()
    house.hello(house.held[0], job, 0, start[3])
    assert "its opcode exceeded its time" in [one.condemned for one in house.runner.crew.workers]
    house.free(house.held[0])
    house.loop.later.pop()()
    house.until("error", job)
    assert "exceeded its time of 0.5 s" in house.op(job)["result"][1][0]


# It was missed only when it had been silent for a minute, its locks held so long.
def test_worker_that_dies_before_its_hello_to_the_next_owner_is_missed_at_once(house):
    job, _ = house.running()
    house.open()
    recover(house.runner)
    house.free(house.held[0])
    house.process.kill()
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_finish_that_was_kept_by_the_owner_before_is_answered_by_the_next(house):
    job, token = house.running()
    house.say(*finish(token, result=1))
    house.open()
    assert recover(house.runner) == []
    assert house.hello(house.held[0], job, 0, token) == []
    assert house.say(*finish(token, result=1, again=True)) == [["ok", token]]


def test_worker_that_executes_what_the_queue_has_given_to_another_ends(house):
    job, token = house.running()
    house.say(*finish(token))
    house.open()
    [answer] = house.hello(house.held[0], job, 0, token + 7)
    assert answer[0] == "end"


def test_recovery_judges_what_has_no_process_and_leaves_what_is_set_aside(house):
    job, _ = house.running()
    house.free(house.held[0])
    house.process.kill()
    house.process.wait()
    house.open()
    [described] = recover(house.runner)
    assert (described["job"], described["fate"]) == (job, "judge")
    house.loop.turn()
    assert house.op(job)["status"] == "queued"
    assert house.op(job)["log"][-1][2] == "interrupted"


def test_copied_directory_knows_that_the_livelock_is_not_its_own(house):
    job, _ = house.running()
    name = house.held[0].name
    path = f"/proc/self/fd/{house.fd}/livelocks/{name}"
    os.rename(path, path + ".original")
    open(path, "w").close()
    house.open()
    [described] = recover(house.runner)
    assert (described["fate"], described["pid"]) == ("judge", None)
    house.loop.turn()
    assert house.process.poll() is None
    assert house.op(job)["status"] == "queued"


# A snapshot of a file system has the same inodes: its owner killed the original's worker.
def test_snapshot_of_the_directory_on_another_device_leaves_the_original_alone(house, monkeypatch):
    job, _ = house.running()
    assert house.op(job)["worker"]["device"] == os.fstat(house.fd).st_dev
    place_of = livelock.place_of

    def moved(fd, name):
        return place_of(fd, name)._replace(device=1)

    monkeypatch.setattr(livelock, "place_of", moved)
    os.close(house.held.pop().fd)
    house.open()
    [described] = recover(house.runner)
    assert (described["fate"], described["pid"]) == ("judge", None)
    house.loop.turn()
    assert house.process.poll() is None
    assert house.op(job)["status"] == "queued"


# Nobody was woken to say it: the job stayed queued until something else happened.
def test_job_whose_dependencies_failed_before_is_judged_at_once(house):
    job, token = house.running()
    house.say(*finish(token, following=house.lock()))
    late = house.submit(depends=[[job, ["error"]]])
    assert house.op(late)["status"] == "error"


# The next chance to say it came with the next owner.
def test_verdict_that_could_not_be_recorded_is_recorded_later(house):
    job, token = house.running()
    house.say(*finish(token, following=house.lock()))
    house.loop.failing = DiskFull("full")
    late = house.submit(depends=[[job, ["error"]]])
    assert house.op(late)["status"] == "queued"
    house.loop.failing = None
    house.loop.later.pop()()
    house.loop.turn()
    assert house.op(late)["status"] == "error"


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


def test_worker_of_an_owner_before_ends_what_it_has_and_gets_nothing_new(house):
    job, token = house.running()
    house.open()
    recover(house.runner)
    house.hello(house.held[0], job, 0, token)
    other = house.submit()
    assert house.say(*finish(token)) == [["ok", token]]
    held = house.lock()
    [answer] = house.say("idle", held.name, held.inode)
    assert answer[0] == "end"
    assert house.op(other)["status"] == "queued"


# Claims


def claim(house, lock, timeout_s=0):
    """Ask for an opcode under this livelock; returns where the answers come, and the request."""
    answers = []
    place = Lock(lock.name, lock.inode)
    request = house.claims.request(place, None, timeout_s, answers.append)
    return answers, request


def test_claim_repeated_to_the_next_owner_gets_the_same_opcode(house):
    job, other = house.submit(), house.submit()
    lock = house.lock()
    first, _ = claim(house, lock)
    house.loop.turn()
    house.open()
    assert [one["fate"] for one in recover(house.runner)] == ["wait"]
    again, request = claim(house, lock)
    house.loop.turn()
    assert [(one.document["id"], one.token) for one in again] == [(job, first[0].token)]
    assert (again[0].attempt, house.op(other)["status"]) == (1, "queued")
    house.claims.gone(request)
    house.free(lock)
    house.until("queued", job)
    assert house.op(job)["interruptions"] == 1


def test_claim_repeated_before_its_start_is_durable_gets_one_opcode(house):
    job, other = house.submit(), house.submit()
    lock = house.lock()
    first, request = claim(house, lock)
    settled = []
    request.settled = lambda: settled.append(1)
    house.runner.turn()
    again, same = claim(house, lock)
    assert (same, settled) == (request, [1])
    house.loop.turn()
    assert [one.document["id"] for one in first + again] == [job, job]
    assert house.op(other)["status"] == "queued"


def test_claim_repeated_while_it_waits_is_granted_once(house):
    lock = house.lock()
    first, _ = claim(house, lock)
    again, _ = claim(house, lock)
    assert [one.document for one in first] == [None]
    job = house.submit()
    assert [one.document["id"] for one in again] == [job]


def test_time_of_a_claim_goes_on_under_the_next_owner(house):
    job = house.submit(timeout_s=0.5)
    lock = house.lock()
    claim(house, lock)
    house.loop.turn()
    house.open()
    recover(house.runner)
    [over] = house.loop.later
    over()
    house.free(lock)
    house.until("error", job)
    assert "exceeded its time of 0.5 s" in house.op(job)["result"][1][0]


# A claim whose job was canceled at this moment waited for ever, whatever its limit.
def test_claim_whose_start_was_refused_waits_on_until_its_time_is_over(house):
    answers, _ = claim(house, house.lock(), timeout_s=9.0)
    house.loop.turn()
    job = ask(house.store, submit_one([{"OP_ID": "OP_PORT_TEST"}], Terms(1)))
    # Another thread cancels; the loop does not know yet.
    house.store.begin(cancel(job, now=1))
    house.loop.turn()
    assert (answers, house.op(job)["status"]) == ([], "canceled")
    for timer in house.loop.later[1:]:
        timer()
    assert [one.document for one in answers] == [None]


# Its opcode ran on in the records until the owner was started anew.
def test_claimant_that_lets_go_of_its_livelock_and_keeps_its_connection_is_missed(house):
    jobs = house.submit(), house.submit()
    locks = house.lock(), house.lock()
    for lock in locks:
        claim(house, lock)
        house.loop.turn()
    house.free(locks[0])
    _, look = house.loop.later
    look()
    house.loop.turn()
    assert [house.op(job)["status"] for job in jobs] == ["running", "running"]
    house.loop.later.pop()()
    house.loop.turn()
    assert [house.op(job)["status"] for job in jobs] == ["queued", "running"]
    assert house.op(jobs[0])["interruptions"] == 1


# Explain: what the owner knows beyond the queue itself


def told(house, job):
    """Reasons by their word, with the event that would lift each."""
    with house.store.snapshot() as moment:
        document = moment.find(job).document
        reasons = explain_queue(moment, document, SystemClock().now_ns())
    return {one["reason"]: one for one in explain(house.runner, reasons, job)}


def test_explain_says_whose_turn_is_before(house):
    first, _ = house.running()
    second, third = house.submit(), house.submit(priority=10)
    house.submit(priority=-10)
    turn = told(house, third)["turn"]
    assert (turn["jobs"], turn["before"]) == ([first], [4, second])
    assert turn["until"] == f"one of job {first} ends"
    assert "jobs 4, 2 are before it" in turn["text"]


# It said that the job starts now.
def test_explain_says_that_no_more_jobs_may_run(house):
    first, _ = house.running()
    house.runner.options.workers, house.runner.options.max_running_jobs = 4, 1
    turn = told(house, house.submit())["turn"]
    text = f"so many jobs run as may at once (1, max_running_jobs): job {first}"
    assert (turn["text"], turn["jobs"]) == (text, [first])
    assert turn["until"] == f"one of job {first} ends"


def test_explain_says_which_process_executes_it_and_that_its_end_is_awaited(house):
    job, _ = house.running()
    assert str(house.me.pid) in told(house, job)["running"]["text"]
    house.process.kill()
    for _ in range(10):
        house.loop.wait()
    dying = told(house, job)["running"]
    assert "locks stay held" in dying["text"]
    assert house.held[0].name in dying["until"]


def test_explain_says_what_waits_for_locks_and_who_has_them(house):
    first = house.submit(name="disk")
    house.hello(house.lock())
    second = house.submit(name="disk")
    locks = told(house, second)["locks"]
    assert (locks["jobs"], locks["until"]) == ([first], f"job {first} ends")
    assert locks["text"] == f"it waits for disk, which job {first} has"


def test_explain_says_that_a_kind_is_unknown_or_its_parameters_do_not_fit(house):
    unknown = ask(house.store, submit_one([{"OP_ID": "OP_NOBODY"}], Terms(1)))
    assert "a unit for OP_NOBODY" in told(house, unknown)["kind"]["until"]
    misfit = house.submit(other=1)
    assert "other" in told(house, misfit)["parameters"]["text"]


def test_explain_says_everything_at_once_and_remarks_on_the_drain(house):
    first, _ = house.running()
    job = house.submit(depends=[[first, []]], not_before=10**11, name="x", other=2)
    ask(house.store, set_pause({"reason": "lunch", "by": "me", "since": 1}))
    ask(house.store, set_drain({"reason": "moving", "by": "me", "since": 1}))
    found = told(house, job)
    assert list(found) == ["paused", "dependency", "not_before", "parameters", "drained"]
    assert all(one["until"] for one in found.values())


def test_explain_says_that_nobody_works_here_or_is_about_to_end(house):
    job = house.submit()
    house.runner.options.workers = 0
    assert list(told(house, job)) == ["workers"]
    house.runner.options.workers = 1
    house.runner.crew.stopping = True
    assert list(told(house, job)) == ["stopping"]
