"""Waiting for a queue to be idle: woken by the commit that makes it so, never by a clock."""

import threading
import time

import pytest

from jqueue import JobQueue, OpCode, QueueFailed, WaitTimeout, connect, logical_unit
from jqueue.daemon.idling import Idling
from jqueue.execution.executions import Options

GATES = {}


class UnitTestGated(OpCode):
    gate: str = ""


@logical_unit(UnitTestGated)
def gated(op, context):
    if op.gate:
        assert GATES[op.gate].wait(30)


class Running:
    """An owner with one worker, on threads."""

    def __init__(self, queue, workers=1):
        self.queue = queue
        owner = queue.prepare(Options(workers=workers), "thread")
        self.thread = threading.Thread(target=queue.run_prepared, args=(owner,))
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.queue.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


class Waiting:
    """`wait_idle` on a thread and connection of its own."""

    def __init__(self, path):
        self.answers = []
        self.path = path
        self.thread = threading.Thread(target=self._wait)
        self.thread.start()

    def _wait(self):
        with connect(self.path) as client:
            self.answers.append(client.wait_idle(60))

    def answer(self):
        self.thread.join(30)
        return self.answers[0]


@pytest.fixture
def queue(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process") as opened:
        yield opened


@pytest.fixture
def client(queue):
    with connect(queue.path, timeout_s=0.2) as made:
        yield made


@pytest.fixture
def until_somebody_waits(until):
    wait = until(Idling, "wait")
    return lambda queue: wait(lambda: queue.owner._verbs.idling._waiters)


def test_all_who_wait_are_answered_by_the_end_of_the_last_job(queue, client, until_somebody_waits):
    GATES["last"] = threading.Event()
    with Running(queue):
        queue.submit_many([[UnitTestGated()], [UnitTestGated(gate="last")]])
        waiting = [Waiting(queue.path) for _ in range(3)]
        until_somebody_waits(queue)
        with pytest.raises(WaitTimeout, match=r"[12] unfinished"):
            client.wait_idle(0.05)
        GATES["last"].set()
        assert [one.answer() for one in waiting] == [0, 0, 0]
        assert client.wait_idle(0) == 0
        assert not queue.owner._verbs.idling._waiters


def test_what_will_not_start_by_itself_is_not_waited_for_and_is_counted(queue, client):
    later = UnitTestGated(not_before=time.time() + 3600)
    with Running(queue):
        queue.submit_many([[later], [{"OP_ID": "OP_NOBODY_KNOWS"}], [UnitTestGated()]])
        assert client.wait_idle(30) == 2


def test_a_paused_queue_is_idle_once_nothing_runs(queue, client):
    GATES["paused"] = threading.Event()
    with Running(queue):
        queue.submit([UnitTestGated(gate="paused"), UnitTestGated()])
        found = queue.job(1)
        while found.status != "running":
            found = queue.wait_change(1, found.lsn, 30)
        queue.pause()
        with pytest.raises(WaitTimeout):
            client.wait_idle(0.05)
        GATES["paused"].set()
        assert client.wait_idle(30) == 1
        queue.resume()
        assert client.wait_idle(30) == 0
        # What is claimed in this process runs too, though its owner didn't start it.
        queue.submit([{"OP_ID": "OP_NOBODY_KNOWS"}])
        claim = queue.claim()
        queue.pause()
        with pytest.raises(WaitTimeout):
            client.wait_idle(0)
        claim.release()
        assert client.wait_idle(30) == 1


def test_a_job_whose_dependency_fails_is_judged_before_the_queue_is_idle(queue, client):
    with Running(queue):
        queue.pause()
        first = queue.submit([UnitTestGated(not_before=time.time() + 3600)])
        queue.submit([UnitTestGated(depends=[[first, ["success"]]])])
        queue.resume()
        assert client.wait_idle(30) == 2
        queue.cancel(first)
        assert client.wait_idle(30) == 0


def test_an_owner_without_workers_is_idle_when_claimants_have_ended_all(
    queue, client, until_somebody_waits
):
    queue.listen()
    queue.submit([UnitTestGated()])
    waiting = Waiting(queue.path)
    until_somebody_waits(queue)
    with queue.claim() as claim:
        with pytest.raises(WaitTimeout):
            client.wait_idle(0)
        claim.finish(None)
    assert waiting.answer() == 0


def test_without_an_owner_it_is_idle_if_all_have_ended_or_waits_for_an_owner(tmp_path):
    with JobQueue.open(tmp_path / "queue", durability="process") as queue:
        queue.submit([UnitTestGated()])
    with connect(tmp_path / "queue", timeout_s=0.05) as client:
        with pytest.raises(QueueFailed, match="nobody serves this queue, 1 unfinished; start"):
            client.wait_idle()
        with pytest.raises(WaitTimeout):
            client.wait_idle(0)
    waiting = Waiting(tmp_path / "queue")
    with JobQueue.open(tmp_path / "queue", durability="process") as queue, Running(queue):
        assert waiting.answer() == 0
    with connect(tmp_path / "queue", timeout_s=0) as client:
        assert client.wait_idle() == 0
