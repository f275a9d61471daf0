"""A worker's line: what it sends, and sends again, until its owner has kept it."""

import os
import socket
from collections import deque

import pytest

from jqueue.errors import TooLarge
from jqueue.execution import line as line_module
from jqueue.execution.line import WorkerLine
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
        self.line = WorkerLine(self.dial, myself(), orphan_timeout_s=30)
        self.line.start(CURRENT)
        self.hello()

    def dial(self):
        theirs, ours = socket.socketpair()
        ours.settimeout(20)
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

    def run(self):
        """Let it execute something."""
        self.tell("start", 1, 0, TOKEN, 1, 0, {})
        assert self.line.next()[0] == "start"

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
    owner.line.finish(NEXT, True, 5)
    assert owner.hear()[0] == "finish"
    owner.tell("ok", TOKEN)
    owner.tell("start", 2, 0, TOKEN + 1, 1, 0, {})
    assert owner.line.next()[3] == TOKEN + 1
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
    owner.line.finish(NEXT, True, 5)
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
    owner.line.finish(NEXT, True, "x" * 1000, [[{}]])
    finish = owner.hear()
    assert (finish[3], finish[5]) == (False, None)
    assert "1000 fit" in finish[4][1][0]


def test_entries_that_no_message_holds_together_are_several(owner, monkeypatch):
    monkeypatch.setattr(line_module, "MAX_FRAME_BYTES", 1000)
    monkeypatch.setattr(line_module, "MAX_BATCH_BYTES", 700)
    owner.line.feedback(entries("first"))
    assert said(owner.hear()) == ["first"]
    owner.line.feedback(entries("a" * 400, "b" * 400, "c" * 400))
    owner.line.finish(NEXT, True, "kept")
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
