"""One connection: its requests take turns with others', and nothing that is owed is lost."""

import socket

import pytest

from jqueue.daemon import connection as connections
from jqueue.daemon import luxi, reactor
from jqueue.daemon.answer_room import AnswerRoom
from jqueue.daemon.connection import Connection, Peer
from jqueue.daemon.reactor import Reactor
from jqueue.execution.wire import END, HELLO, Splitter, frame
from jqueue.job import jsonio
from jqueue.store.memory import MemoryStore

ASKED = frame({"method": "count", "args": {}})


class Handler:
    """Notes who asked; answers when it is told to."""

    def __init__(self, loop):
        self.loop = loop
        self.room = AnswerRoom(loop)
        self.asked, self.slots, self.heard, self.gone = [], [], [], []
        self.on_request = lambda _connection: None

    def handle(self, connection, request, slot):
        self.asked.append(connection)
        self.slots.append(slot)
        self.on_request(connection)

    def greet(self, connection, hello):
        return self

    def receive(self, message):
        self.heard.append(message)

    def closed(self):
        self.heard.append("closed")

    def forget(self, connection):
        self.gone.append(connection)

    def may_hold(self, connection, size_bytes):
        return True

    def answer_all(self):
        slots, self.slots = self.slots, []
        for slot in slots:
            slot.answer(luxi.frame(luxi.success(None)))


@pytest.fixture
def loop():
    made = Reactor(MemoryStore())
    yield made
    made.close()


@pytest.fixture
def handler(loop):
    return Handler(loop)


@pytest.fixture
def connect(loop, handler):
    """Makes connections; each with the peer's end of it."""
    made = []

    def make():
        ours, theirs = socket.socketpair()
        theirs.settimeout(20)
        connection = Connection(loop, handler, ours, Peer(1, 0, 0))
        made.append((connection, theirs))
        return connection, theirs

    yield make
    for connection, theirs in made:
        connection.close()
        theirs.close()


@pytest.fixture
def impatient(monkeypatch):
    """A turn is long from its beginning on."""
    monkeypatch.setattr(reactor, "LONG_TURN_S", -1.0)


def answers(stream, count):
    splitter, found = Splitter(), []
    while len(found) < count:
        found += map(jsonio.loads, splitter.feed(stream.recv(1 << 16)))
    return found


# One who sent 9,000 small requests at once held up everybody's commits for a second a turn.
@pytest.mark.usefixtures("impatient")
def test_who_sends_many_requests_at_once_takes_turns_with_the_others(loop, handler, connect):
    many, theirs = connect()
    other, others = connect()
    handler.on_request = lambda asking: asking is many and others.sendall(ASKED)
    theirs.sendall(ASKED * 100)
    for _ in range(3):
        loop.turn(timeout_s=0)
    assert handler.asked[:4].count(other) >= 1
    handler.on_request = lambda _asking: None
    while handler.asked.count(many) < 100:
        loop.turn(timeout_s=0)
    handler.answer_all()
    assert len(answers(theirs, 100)) == 100


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("at_once", [False, True])
def test_what_a_worker_said_before_it_ended_is_heard(loop, handler, connect, at_once):
    worker, theirs = connect()
    messages = [["log", number] for number in range(50)]
    theirs.sendall(frame({"method": HELLO, "args": [{}]}) + b"".join(map(frame, messages)))
    theirs.close()
    loop.turn(timeout_s=0)
    assert len(handler.heard) < 50
    if at_once:
        # As when its process is found dead.
        worker.read_out()
    while "closed" not in handler.heard:
        loop.turn(timeout_s=0)
    assert handler.heard == [*messages, "closed"]


# It was read no more, ever: the answers went out at once, and nobody looked again.
def test_who_had_too_many_requests_out_is_read_again_once_they_are_answered(
    loop, handler, connect, monkeypatch
):
    monkeypatch.setattr(connections, "MAX_PIPELINED", 3)
    _, theirs = connect()
    theirs.sendall(ASKED * 8)
    for asked in (3, 6, 8):
        loop.turn(timeout_s=0)
        loop.turn(timeout_s=0)
        assert len(handler.asked) == asked
        handler.answer_all()
    theirs.sendall(ASKED)
    loop.turn(timeout_s=0)
    assert len(handler.asked) == 9


def test_who_says_that_no_more_comes_is_answered_and_let_go_then(loop, handler, connect):
    connection, theirs = connect()
    theirs.sendall(ASKED * 2)
    theirs.shutdown(socket.SHUT_WR)
    loop.turn(timeout_s=0)
    loop.turn(timeout_s=0)
    assert connection.is_open
    handler.answer_all()
    assert len(answers(theirs, 2)) == 2
    assert theirs.recv(1) == b""
    assert handler.gone == [connection]


def test_answers_before_one_that_closes_are_sent_and_the_connection_closed(loop, handler, connect):
    connection, theirs = connect()
    theirs.sendall(ASKED + b"nonsense" + END)
    loop.turn(timeout_s=0)
    assert connection.is_open
    handler.answer_all()
    assert [answer["success"] for answer in answers(theirs, 2)] == [True, False]
    assert theirs.recv(1) == b""


# The kernel told of it in each turn, and the loop never slept.
@pytest.mark.parametrize("half_first", [False, True])
def test_a_peer_that_is_gone_while_it_is_not_read_is_let_go(
    loop, handler, connect, monkeypatch, half_first
):
    monkeypatch.setattr(connections, "MAX_PIPELINED", 100 if half_first else 2)
    connection, theirs = connect()
    theirs.sendall(ASKED * 3)
    if half_first:
        theirs.shutdown(socket.SHUT_WR)
    loop.turn(timeout_s=0)
    loop.turn(timeout_s=0)
    assert connection.is_open
    theirs.close()
    loop.turn(timeout_s=0)
    assert handler.gone == [connection]
    assert all(slot.dropped for slot in handler.slots)


@pytest.mark.usefixtures("impatient")
def test_a_peer_that_is_gone_before_its_requests_are_read_costs_no_turn_but_theirs(
    loop, handler, connect
):
    connection, theirs = connect()
    theirs.sendall(ASKED * 20)
    handler.on_request = lambda _asking: handler.answer_all()
    theirs.close()
    loop.turn(timeout_s=0)
    calls = []
    ready = connection._ready
    connection._ready = lambda: (calls.append(None), ready())
    loop._watched[connection._fd] = connection._ready
    while not handler.gone:
        loop.turn(timeout_s=0)
    assert len(handler.asked) == 20
    # Once to be told that it is gone, once to read to the end.
    assert len(calls) <= 2


# A thousand waits for one job of 60 MiB had its document in memory a thousand times.
def test_answers_are_made_no_sooner_than_their_peer_takes_those_before(
    loop, handler, connect, monkeypatch
):
    monkeypatch.setattr(connections, "MAX_UNSENT_BYTES", 1)
    _, theirs = connect()
    large, made = "x" * (1 << 20), []

    def make(slot, number):
        made.append(number)
        slot.answer(luxi.frame(luxi.success([number, large])))
        return True

    theirs.sendall(ASKED * 1000)
    while len(handler.slots) < 1000:
        loop.turn(timeout_s=0)
    for number, slot in enumerate(handler.slots):
        slot.when_first(lambda _, slot=slot, number=number: make(slot, number))
    assert made == [0]
    splitter, found = Splitter(), []
    while len(found) < 10:
        loop.turn(timeout_s=0)
        found += map(jsonio.loads, splitter.feed(theirs.recv(1 << 20)))
    assert [answer["result"][0] for answer in found] == list(range(10))
    assert len(made) <= 12


def test_a_thousand_small_answers_that_are_made_in_turn_are_sent(loop, handler, connect):
    _, theirs = connect()
    theirs.sendall(ASKED * 1000)
    while len(handler.slots) < 1000:
        loop.turn(timeout_s=0)

    def make(slot):
        slot.answer(luxi.frame(luxi.success(None)))
        return True

    for slot in reversed(handler.slots):
        slot.when_first(lambda _, slot=slot: make(slot))
    splitter, found = Splitter(), 0
    while found < 1000:
        loop.turn(timeout_s=0)
        found += len(splitter.feed(theirs.recv(1 << 16)))
    assert found == 1000


# A finish that a worker had sent before it died was not heard: its opcode ran again.
@pytest.mark.parametrize("owed_bytes", [1 << 20, 6 << 20])
@pytest.mark.parametrize("read_before", [True, False])
def test_last_words_of_a_worker_that_did_not_take_its_own_are_heard(
    loop, handler, connect, monkeypatch, owed_bytes, read_before
):
    connection, theirs = connect()
    theirs.sendall(frame({"method": HELLO, "args": [{}]}))
    loop.turn(5)
    # It is owed more than its buffer takes, and its words are more than one turn has time for.
    connection.send(["submitted", 1, "y" * owed_bytes])
    loop.settle()
    assert connection.unsent_bytes
    monkeypatch.setattr(loop, "is_long", lambda: True)
    words = [["log", 1, at, [], False] for at in range(3)] + [["finish", 1]]
    theirs.sendall(b"".join(map(frame, words)))
    if read_before:
        loop.turn(0)
    theirs.close()
    while handler.heard[-1:] != ["closed"]:
        loop.turn(5)
    assert handler.heard == [*words, "closed"]
