"""Queues in memory at a time that stands still, and executions by hand."""

from jqueue.queue.core import QueueCore
from jqueue.queue.finishing import finish
from jqueue.queue.running import start
from jqueue.store.memory import MemoryStore

NS = 10**9
NOON = 1_700_000_000 * NS
LIVELOCK = "w-1"
WORKER = {"pid": 4711, "start_time": 12, "boot_id": "b"}


class FrozenClock:
    """A clock that moves when told to."""

    def __init__(self, now=NOON):
        self.now = now
        self.steady = 1000.0

    def now_ns(self):
        return self.now

    def steady_s(self):
        return self.steady

    def forward(self, seconds):
        self.now += int(seconds * NS)
        self.steady += seconds

    def step(self, seconds):
        """Somebody sets the clock; no time passes."""
        self.now += int(seconds * NS)


def new_queue(**options):
    return QueueCore(MemoryStore(), FrozenClock(), user="alice", **options)


def delay(seconds=0.1, **parameters):
    return {"OP_ID": "OP_TEST_DELAY", "duration": seconds, **parameters}


def begin(queue, job, op=0, **options):
    """Start an opcode and return its token."""
    options = {"livelock": LIVELOCK, "worker": WORKER, **options}
    return queue.store.transact(start(job, op, now=queue.clock.now_ns(), **options)).lsn


def end(queue, job, token, op=0, *, ok=True, **options):
    """Finish an opcode that was begun."""
    return queue.ask(finish(job, op, token, now=queue.clock.now_ns(), ok=ok, **options))


def run(queue, job, op=0, *, ok=True, **options):
    """Carry out one opcode of a job."""
    return end(queue, job, begin(queue, job, op), op, ok=ok, **options)


def op_of(queue, job, op=0):
    """The raw opcode."""
    return queue.job(job).to_dict()["ops"][op]


def statuses(queue, job):
    return [str(op.status) for op in queue.job(job).ops]


def lsn(queue):
    return queue.store.ledger.last_lsn
