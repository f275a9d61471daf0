"""A worker's line: what it sends, and sends again, until its owner has kept it."""

import contextlib
import fcntl
import os
import queue
import socket
import threading
from collections import deque

import pytest

from jqueue.errors import TooLarge
from jqueue.execution import line as line_module
from jqueue.execution.line import Ended, WorkerLine
from jqueue.execution.wire import Splitter, frame
from jqueue.job import jsonio
from jqueue.store.livelock import Livelock
from jqueue.store.processes import myself

TOKEN = 7
CURRENT, NEXT = Livelock("worker-1-a", -1, 1), Livelock("worker-1-b", -1, 2)


class FakeOwner:
    """The other end of the line: hears and answers as the test says."""

    def __init__(self):
        self.ends = deque()
        self.waiting = None
        self.line = WorkerLine(self.dial, myself(), orphan_timeout_s=30)
        self.line.start(CURRENT)
        self.hello()

    def dial(self):
        theirs, ours = socket.socketpair()
        ours.settimeout(20)
        theirs.settimeout(0.05)  # as socket.setdefaulttimeout does it
        self.ends.append(ours)
        return theirs

    def hello(self):
        """Take the connection that was made last."""
        self.line_end = self.ends[-1]
        self.splitter, self.heard = Splitter(), deque()
        return self.hear()["args"][0]

    def hear(self):
        while not self.heard:
            data = self.line_end.recv(1 << 20)
            assert data
            self.heard.extend(map(jsonio.loads, self.splitter.feed(data)))
        return self.heard.popleft()

    def tell(self, *message):
        self.line_end.sendall(frame(list(message)))

    def run(self, token=TOKEN):
        """Let it execute something."""
        self.tell("start", 1, 0, token, 1, 0, {})
        started = self.line.next() if self.waiting is None else self.waiting.get(timeout=20)
        assert started[3] == token
        self.waiting = None

    def finish(self, *result):
        """Let it hand in its result, and wait for its next start."""
        self.line.finish(NEXT, True, *result)
        self.wait()

    def wait(self):
        self.waiting = started = queue.SimpleQueue()

        def wait():
            with contextlib.suppress(Ended):
                started.put(self.line.next())

        threading.Thread(target=wait, daemon=True).start()

    def drop(self):
        """Break the connection, and wait for the next."""
        before = len(self.ends)
        self.line_end.close()
        self.until(lambda: len(self.ends) > before)

    def until(self, done):
        """Let the line's own thread go on until it has done this."""
        while not done():
            os.sched_yield()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.tell("end", "the test is over")
        for end in self.ends:
            end.close()


@pytest.fixture
def owner():
    made = FakeOwner()
    made.run()
    yield made
    made.close()


def entries(*texts):
    return [[[1, number], "message", text] for number, text in enumerate(texts)]


def said(message):
    return [text for _, _, text in message[3 if message[0] == "log" else 2]]


# Two answers came when a submission was sent again while it waited: the second ended the worker.
def test_submission_that_is_answered_twice_is_answered_once(owner):
    owner.tell("submitted", "1", [[True, 5]])
    owner.tell("again", TOKEN)
    owner.line.feedback(entries("still there"))
    assert said(owner.hear()) == ["still there"]


# By an answer that came twice a worker forgot what it had begun after the first.
def test_finish_that_is_answered_twice_ends_nothing_else(owner):
    owner.finish(5)
    assert owner.hear()[0] == "finish"
    owner.tell("ok", TOKEN)
    owner.run(TOKEN + 1)
    owner.tell("ok", TOKEN)
    owner.tell("logged", 0)
    owner.drop()
    assert owner.hello()["token"] == TOKEN + 1


# A later batch's answer was taken for that of an earlier one, which the full disk had not kept.
def test_batch_that_was_not_kept_is_sent_again_before_anything_else(owner, monkeypatch):
    monkeypatch.setattr(line_module, "GATHER_S", 0.0)
    monkeypatch.setattr(line_module, "UNLOGGED_RETRY_S", 0.05)
    owner.line.feedback(entries("a"))
    owner.line.feedback(entries("b"))
    first, second = owner.hear(), owner.hear()
    assert (said(first), said(second)) == (["a"], ["b"])
    owner.tell("unlogged", first[2])
    owner.tell("logged", second[2])
    owner.until(lambda: owner.line._unkept)
    owner.line.feedback(entries("c"))
    again = owner.hear()
    assert (said(again), again[4]) == (["a", "b", "c"], True)


def test_entries_without_an_answer_come_again_before_the_finish(owner):
    owner.line.feedback(entries("a"))
    owner.line.feedback(entries("b"))
    owner.finish(5)
    assert said(owner.hear()) == ["a"]
    assert said(owner.hear()) == ["b"]
    for _ in range(2):
        owner.drop()
        assert owner.hello()["token"] == TOKEN
        again, finish = owner.hear(), owner.hear()
        assert (said(again), again[4]) == (["a", "b"], True)
        assert (finish[0], said(finish), finish[4], finish[7]) == ("finish", [], 5, True)
    owner.tell("again", TOKEN)
    assert [owner.hear()[0], owner.hear()[0]] == ["log", "finish"]
    owner.tell("ok", TOKEN)
    owner.run()
    owner.drop()
    owner.hello()
    owner.line.feedback(entries("c"))
    assert said(owner.hear()) == ["c"]


# What is larger than a message may be broke each connection anew, and its job never ended.
def test_result_that_no_message_holds_is_an_error(owner, monkeypatch):
    monkeypatch.setattr(line_module, "MAX_FRAME_BYTES", 1000)
    owner.finish("x" * 1000, [[{}]])
    finish = owner.hear()
    assert (finish[3], finish[5]) == (False, None)
    assert "1000 fit" in finish[4][1][0]


def test_entries_that_no_message_holds_together_are_several(owner, monkeypatch):
    monkeypatch.setattr(line_module, "MAX_FRAME_BYTES", 1000)
    monkeypatch.setattr(line_module, "MAX_BATCH_BYTES", 700)
    owner.line.feedback(entries("first"))
    assert said(owner.hear()) == ["first"]
    owner.line.feedback(entries("a" * 400, "b" * 400, "c" * 400))
    owner.finish("kept")
    heard = [owner.hear() for _ in range(4)]
    assert [message[0] for message in heard] == ["log", "log", "log", "finish"]
    assert [said(message)[0][0] for message in heard[:3]] == ["a", "b", "c"]
    assert heard[3][2:5] == [[], True, "kept"]


def test_submission_that_no_message_holds_is_refused_to_the_unit(owner, monkeypatch):
    monkeypatch.setattr(line_module, "MAX_FRAME_BYTES", 1000)
    with pytest.raises(TooLarge):
        owner.line.submit("1", [["x" * 1000]])
    owner.drop()
    owner.hello()
    owner.line.feedback(entries("goes on"))
    assert said(owner.hear()) == ["goes on"]


# Who reads: the thread that executes, or the line's own


def test_who_executes_one_short_opcode_after_another_reads_by_itself(owner, monkeypatch):
    monkeypatch.setattr(line_module, "TAKE_OVER_S", 60.0)
    for token in range(TOKEN, TOKEN + 20):
        owner.finish(5)
        owner.hear()
        owner.tell("ok", token)
        owner.run(token + 1)
    assert owner.line._reader is None


def test_submission_is_answered_however_short_the_opcode_is(owner, monkeypatch):
    monkeypatch.setattr(line_module, "TAKE_OVER_S", 60.0)
    owner.finish(5)
    owner.hear()
    owner.tell("ok", TOKEN)
    owner.run(TOKEN + 1)
    answers = queue.SimpleQueue()
    for call in "12":
        threading.Thread(
            target=lambda call: answers.put(owner.line.submit(call, [[]])), args=call
        ).start()
        assert owner.hear()[2] == call
        owner.tell("submitted", call, [[True, 5]])
        assert answers.get(timeout=20) == [[True, 5]]


def test_what_comes_while_an_opcode_runs_for_long_is_heard(owner):
    canceled = threading.Event()
    owner.line.on_cancel = canceled.set
    owner.finish(5)
    owner.hear()
    # With the start, so that nobody reads it before the opcode has begun.
    start = frame(["start", 1, 0, TOKEN + 1, 1, 0, {}])
    owner.line_end.sendall(frame(["ok", TOKEN]) + start + frame(["cancel", TOKEN + 1]))
    assert owner.waiting.get(timeout=20)[3] == TOKEN + 1
    assert canceled.wait(20)


def test_livelock_of_an_opcode_that_is_over_is_let_go_of_with_the_answer(owner):
    over = []
    owner.line.release = over.append
    owner.finish(5)
    owner.hear()
    assert over == []
    owner.tell("ok", TOKEN)
    owner.run(TOKEN + 1)
    assert over == [CURRENT]


# Who executes waited for it on the connection, and it lay in its inbox.
def test_start_that_the_lines_own_thread_has_read_is_taken(owner, monkeypatch):
    owner.until(lambda: owner.line._reader is not None)
    monkeypatch.setattr(line_module, "TAKE_OVER_S", 60.0)
    owner.line.finish(NEXT, True, 5)
    owner.hear()
    owner.tell("ok", TOKEN)
    owner.tell("start", 1, 0, TOKEN + 1, 1, 0, {})
    owner.until(lambda: owner.line._starts == 2)
    owner.wait()
    assert owner.waiting.get(timeout=20)[3] == TOKEN + 1


# A program's own limit for sockets was taken for the end of the connection.
def test_worker_that_is_idle_keeps_its_connection(owner):
    owner.finish(5)
    owner.hear()
    owner.tell("ok", TOKEN)
    owner.until(lambda: owner.line._execution is None)
    assert owner.line._socket.gettimeout() is None
    owner.run(TOKEN + 1)
    assert len(owner.ends) == 1


def test_reason_of_the_end_is_the_owners(owner):
    owner.finish(5)
    owner.hear()
    owner.tell("end", "you are not needed")
    owner.line._watcher.join(20)
    assert owner.line._closed == "you are not needed"


# In a program with many open files the line's thread ended, and nothing was answered any more.
def test_descriptors_may_have_any_number():
    read, write = os.pipe()
    high = fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, 1100)
    assert line_module._readable(0, high) == []
    os.write(write, b"x")
    assert line_module._readable(1, high) == [high]
    for fd in (read, write, high):
        os.close(fd)
