"""Answers that peers have not taken are bounded over all connections, and nobody is forgotten."""

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue import JobQueue
from jqueue.daemon import answer_room, connection, server
from jqueue.daemon.answer_room import AnswerRoom, is_small
from jqueue.daemon.connection import Connection
from jqueue.daemon.reactor import Reactor
from jqueue.daemon.watching import Watching
from jqueue.execution.wire import frame
from jqueue.job import jsonio
from jqueue.job.log import Log
from jqueue.job.snapshot import Job
from jqueue.store.memory import MemoryStore
from tests.unit.daemon.test_server import Peer

MIB = 1 << 20
LARGE = {"OP_ID": "OP_X", "text": "x" * MIB}
WAIT = {"method": "wait", "args": {"id": 1}}
JOB = {"method": "job", "args": {"id": 1}}
JOBS = {"method": "jobs", "args": {}}
QUERY = {"method": "Query", "args": ["job", ["id", "ops"], None]}
QUERY_JOBS = {"method": "QueryJobs", "args": [[1], ["id", "ops"]]}
CHANGE = {"method": "WaitForJobChange", "args": [1, ["ops"], None, None, 30]}
LARGE_ANSWERS = [WAIT, JOB, JOBS, QUERY, QUERY_JOBS, CHANGE]
SMALL = [
    {"method": "job", "args": {"id": 2}},
    {"method": "wait", "args": {"id": 2}},
    {"method": "wait_change", "args": {"id": 2, "lsn": 0}},
    {"method": "QueryConfigValues", "args": [["drain_flag"]]},
    *({"method": name, "args": {}} for name in ("status", "metrics", "top", "count")),
]


@pytest.fixture
def small_room(monkeypatch):
    """For four of the large answers, or three that are being made."""
    monkeypatch.setattr(answer_room, "MAX_BYTES", 6 * MIB)
    monkeypatch.setattr(answer_room, "LARGEST_BYTES", 2 * MIB)


@pytest.fixture
def queue(tmp_path, small_room):
    """One with a large job, 1, and a small one, 2, which has ended."""
    with JobQueue.open(tmp_path / "queue", durability="process", listen=True) as opened:
        opened.submit_many([[LARGE], [{"OP_ID": "OP_X"}]])
        opened.cancel(2)
        yield opened


@pytest.fixture
def peers(queue):
    with ExitStack() as stack:
        yield lambda count: [stack.enter_context(Peer(queue)) for _ in range(count)]


@pytest.fixture
def held(queue, monkeypatch):
    """How much was held whenever something came to that."""
    found, send_bytes = [], Connection.send_bytes

    def noted(connection, data):
        send_bytes(connection, data)
        all_ = list(queue._owner.server._connections)
        found.append(
            sum(len(view.obj) for one in all_ for view in one._out)
            + sum(len(slot.data or b"") for one in all_ for slot in one._slots)
        )

    monkeypatch.setattr(Connection, "send_bytes", noted)
    return found


@pytest.fixture
def until_waiting(queue, until):
    """Returns once so many wait for room."""
    waiting = queue._owner.server.room._waiting
    come, gone = until(AnswerRoom, "wait"), until(AnswerRoom, "leave")

    def wait(count):
        (come if len(waiting) < count else gone)(lambda: len(waiting) == count)

    return wait


@pytest.fixture
def fill(queue, peers, until):
    """Takes all the room, by peers that read nothing."""
    until_held = until(Connection, "_hold")

    def take():
        lazy = peers(4)
        for peer in lazy:
            peer.send(frame(JOB))
        until_held(lambda: queue._owner.server.room.held_bytes > 4 * MIB)
        return lazy

    return take


# 900 who waited for one job of 60 MiB had 54 GiB of the owner's memory together.
@pytest.mark.parametrize("asked", LARGE_ANSWERS)
def test_many_who_are_told_of_a_large_job_have_bounded_memory_together(
    queue, peers, held, until, asked
):
    until_watched = until(Watching, "wait")
    asking = peers(30)
    for peer in asking:
        peer.send(frame(asked))
    if asked is WAIT:
        watching = queue._owner.server.verbs.watching
        until_watched(lambda: len(watching._waiters.get(1, ())) == len(asking))
    queue.cancel(1)
    # Whose turn comes when depends on the set of those who wait: all read at once.
    with ThreadPoolExecutor(len(asking)) as threads:
        assert all(answer["success"] for answer in threads.map(Peer.answer, asking))
    # Some at once, and no more than there is room for.
    assert 2 * MIB < max(held) <= 6 * MIB


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("asked", LARGE_ANSWERS)
def test_who_waits_for_room_is_answered_when_there_is_some(
    queue, peers, fill, until, until_waiting, asked, gone
):
    until_let_go = until(server.Server, "forget")
    queue.cancel(1)
    lazy = fill()
    waiting, other = peers(2)
    waiting.send(frame(asked))
    until_waiting(1)
    other.send(frame(asked))
    until_waiting(2)
    if gone:
        waiting.stream.close()
        until_waiting(1)
    for peer in lazy:
        peer.stream.close()
    assert other.answer()["success"]
    if not gone:
        assert waiting.answer()["success"]
    waiting.stream.close()
    other.stream.close()
    until_let_go(lambda: not queue._owner.server._connections)
    assert not queue._owner.server.room._waiting


def test_small_answers_wait_for_no_room(queue, peers, fill):
    fill()
    [peer] = peers(1)
    for request in SMALL:
        peer.send(frame(request))
        assert peer.answer()["success"]


def test_who_never_reads_keeps_the_room_no_longer_than_a_peer_may_stall(queue, peers, monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.05)
    lazy = peers(20)
    for peer in lazy:
        peer.send(frame(JOB))
    [last] = peers(1)
    last.send(frame(JOB))
    assert last.answer()["success"]


def test_who_waits_for_a_turn_holds_no_job(queue, peers, until_seen):
    queue.submit([{"OP_ID": "OP_X"}])
    [peer] = peers(1)
    peer.send(frame({"method": "wait", "args": {"id": 3}}) + frame(WAIT) + frame(JOB) * 3)
    until_seen(queue)
    queue.cancel(1)
    until_seen(queue)
    assert not [one for one in gc.get_objects() if type(one) is Job and one.id == 1]
    queue.cancel(3)
    assert [peer.answer()["result"]["document"]["id"] for _ in range(5)] == [3, 1, 1, 1, 1]


@pytest.fixture
def loop():
    made = Reactor(MemoryStore())
    yield made
    made.close()


@pytest.mark.usefixtures("small_room")
def test_those_who_wait_have_their_turn_in_the_order_of_coming_and_one_by_one(loop):
    common, told = AnswerRoom(loop), []

    def take(name):
        told.append(name)
        assert common.take(name)
        if told.count(name) == 1:
            # Whoever wants more stands at the end.
            assert not common.take(name)
            common.wait(name, lambda: take(name))

    common.hold(5 * MIB)
    for name in "abc":
        assert not common.take(name)
        common.wait(name, lambda name=name: take(name))
    common.leave("b")
    loop.turn(timeout_s=0)
    assert told == []
    common.hold(-5 * MIB)
    assert not common.take("new")
    for turns, expected in enumerate(("a", "ac", "aca", "acac"), start=1):
        while len(told) < turns:
            loop.turn(timeout_s=0)
        assert "".join(told) == expected
    assert common.take("new")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5000),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text(), inner)
            | st.builds(lambda value: [value] * 30, inner)
        ),
    )
)
def test_what_is_small_is_told_without_writing_it(value):
    size_bytes = len(jsonio.dumps(value))
    with mock.patch.object(answer_room, "SMALL_BYTES", 300):
        if is_small(value):
            # A character may be six bytes, a number twenty.
            assert size_bytes <= 30 * 300
        else:
            assert size_bytes > 100


def test_a_log_is_as_long_as_its_entries():
    assert is_small({"log": Log([[0, "message", "x"]])})
    assert not is_small({"log": Log([[0, "message", "x" * answer_room.SMALL_BYTES]])})
