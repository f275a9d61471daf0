"""An owner without a socket, on a memory store, and what its workers say."""

import os
import subprocess

from jqueue.execution.claims import Claims
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Lock, Options, Worker
from jqueue.execution.explaining import explain
from jqueue.execution.port import greet
from jqueue.execution.runner import Runner
from jqueue.execution.units import Unit
from jqueue.execution.wire import WORKER_VERSION
from jqueue.job.opcode import OpCode
from jqueue.queue.answer import ask
from jqueue.queue.clock import SystemClock
from jqueue.queue.explain import explain as explain_queue
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
        self.start_process()
        self.store = MemoryStore()
        self.held = []
        self.open()
        self.runner.crew.launch_missing()

    def start_process(self):
        """Start what is signaled in a worker's stead; the test holds its livelocks and speaks."""
        self.process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self.me = processes.Identity.of(self.process.pid)

    def replace_process(self):
        """What is launched next is another process; this one is dead."""
        self.process.kill()
        self.process.wait()
        self.start_process()

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

    def fail_next(self, *errors):
        """What is begun next meets these errors, one each; returns those that are left."""
        begin, left = self.loop.begin, list(errors)

        def begin_failing(decide, then):
            if left:
                self.loop.begun.append((None, then, left.pop(0)))
            else:
                begin(decide, then)

        self.loop.begin = begin_failing
        return left

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


def finish(token, ok=True, result=None, children=None, again=False, following=None):
    message = "finish", token, [], ok, result, children, "report", again
    return message if following is None else (*message, [following.name, following.inode])


def claim(house, lock, timeout_s=0):
    """Ask for an opcode under this livelock; returns where the answers come, and the request."""
    answers = []
    place = Lock(lock.name, lock.inode)
    request = house.claims.request(place, None, timeout_s, answers.append)
    return answers, request


def told(house, job):
    """Reasons by their word, with the event that would lift each."""
    with house.store.snapshot() as moment:
        document = moment.find(job).document
        reasons = explain_queue(moment, document, SystemClock().now_ns())
    return {one["reason"]: one for one in explain(house.runner, reasons, job)}
