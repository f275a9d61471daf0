"""The scheduler, pure: order, what holds a job, and what releases it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.execution.scheduler import Scheduler
from jqueue.execution.units import Unit
from jqueue.job.opcode import OpCode
from jqueue.queue.answer import ask
from jqueue.queue.finishing import finish
from jqueue.queue.operating import cancel, set_priority
from jqueue.queue.running import interrupted, start
from jqueue.queue.submission import Terms, submit_one
from jqueue.store.memory import MemoryStore

NS = 10**9


class SchedA(OpCode):
    name: str = ""
    mode: str = "exclusive"


class SchedLimited(OpCode):
    pass


def locks_of(op):
    if op.name == "bad":
        raise ZeroDivisionError
    return {op.name: op.mode} if op.name else {}


UNITS = {
    "OP_SCHED_A": Unit(SchedA, print, locks_of),
    "OP_SCHED_LIMITED": Unit(SchedLimited, print, max_running=2),
}


class Bench:
    """A scheduler on a memory store, with a clock that is set by hand."""

    def __init__(self):
        self.store = MemoryStore()
        self.now_s = 1000.0
        self.tokens = {}
        self.open()

    def open(self):
        order = self.store.claim_order()
        self.scheduler = Scheduler(self.store.find, order, UNITS, lambda: self.now_s)
        self.store.subscribe(self.scheduler.note)

    def submit(self, *ops, **common):
        ops = ops or ({"OP_ID": "OP_SCHED_A", **common},)
        return ask(self.store, submit_one(list(ops), Terms(int(self.now_s * NS))))

    def start(self, pick):
        decide = start(
            pick.job, pick.op_index, now=int(self.now_s * NS), livelock="x", locks=pick.locks
        )
        self.tokens[pick.job] = self.store.transact(decide).lsn

    def take(self, kinds=None):
        pick = self.scheduler.take(kinds)
        if pick is None:
            return None
        self.start(pick)
        return pick.job

    def finish(self, job, op=0, **more):
        decide = finish(job, op, self.tokens[job], now=int(self.now_s * NS), ok=True, **more)
        return ask(self.store, decide)


@pytest.fixture
def bench():
    return Bench()


def test_jobs_go_by_priority_then_id(bench):
    for priority in (10, 0, -10, 0):
        bench.submit(priority=priority)
    assert [bench.take() for _ in range(5)] == [3, 2, 4, 1, None]


def test_jobs_from_before_the_opening_are_merged_with_new_ones(bench):
    for priority in (10, 0):
        bench.submit(priority=priority)
    bench.open()
    bench.submit(priority=-10)
    bench.submit(priority=0)
    assert [bench.take() for _ in range(5)] == [3, 2, 4, 1, None]


def test_opening_reads_only_as_many_jobs_as_are_taken(bench):
    for _ in range(50):
        bench.submit()
    read = []
    find = bench.store.find
    scheduler = Scheduler(
        lambda key: read.append(key) or find(key), bench.store.claim_order(), UNITS, lambda: 0.0
    )
    scheduler.take()
    assert len(read) <= 4


def test_a_job_returns_for_its_next_opcode(bench):
    bench.submit({"OP_ID": "OP_SCHED_A"}, {"OP_ID": "OP_SCHED_A"})
    assert bench.take() == 1
    assert bench.take() is None
    bench.finish(1)
    assert bench.take() == 1


def test_what_was_not_started_comes_again(bench):
    bench.submit()
    pick = bench.scheduler.take()
    assert bench.scheduler.take() is None
    bench.scheduler.returned(pick.job)
    assert bench.take() == 1


def test_changed_priority_counts_at_once(bench):
    bench.submit()
    bench.submit()
    ask(bench.store, set_priority(2, -5))
    assert [bench.take(), bench.take()] == [2, 1]


def test_canceled_job_is_never_taken(bench):
    bench.submit()
    ask(bench.store, cancel(1, now=0))
    assert bench.take() is None
    assert bench.scheduler.idle


def test_kinds_that_were_not_asked_for_stay(bench):
    bench.submit({"OP_ID": "OP_OTHER"})
    bench.submit()
    assert bench.take(frozenset({"OP_SCHED_A"})) == 2
    assert bench.take(frozenset({"OP_SCHED_A"})) is None
    assert bench.scheduler.idle is False
    assert bench.take() == 1


def test_limit_of_a_kind_is_kept_and_derived_from_what_runs(bench):
    for _ in range(4):
        bench.submit({"OP_ID": "OP_SCHED_LIMITED"})
    assert [bench.take(), bench.take(), bench.take()] == [1, 2, None]
    assert bench.scheduler.why(3).reason == "limit"
    bench.finish(1)
    assert [bench.take(), bench.take()] == [3, None]


def test_dependent_waits_and_is_woken(bench):
    bench.submit()
    bench.submit(depends=[[1, []]])
    assert [bench.take(), bench.take()] == [1, None]
    assert bench.scheduler.why(2).reason == "dependency"
    bench.finish(1)
    assert bench.take() == 2


def test_dependency_that_cannot_be_met_asks_for_a_verdict(bench):
    bench.submit()
    bench.submit(depends=[[1, ["error"]]])
    bench.take()
    bench.take()
    bench.finish(1)
    assert bench.take() is None
    assert list(bench.scheduler.verdicts) == [2]


def test_job_waits_for_its_time(bench):
    bench.submit(not_before=1500)
    assert bench.take() is None
    assert bench.scheduler.next_due_s() == 1500
    assert bench.scheduler.idle
    bench.now_s = 1500.0
    assert bench.take() == 1


def test_locks_are_granted_in_order_and_released_by_the_end(bench):
    for _ in range(3):
        bench.submit(name="disk")
    bench.submit(name="other")
    assert [bench.take(), bench.take(), bench.take()] == [1, 4, None]
    held = bench.scheduler.why(2)
    assert (held.reason, "disk" in held.text, "job 1" in held.text) == ("locks", True, True)
    bench.finish(1)
    assert [bench.take(), bench.take()] == [2, None]


def test_nothing_shared_passes_an_earlier_exclusive_waiter(bench):
    bench.submit(name="d", mode="shared")
    bench.submit(name="d", mode="exclusive")
    bench.submit(name="d", mode="shared")
    assert [bench.take(), bench.take()] == [1, None]
    bench.finish(1)
    assert [bench.take(), bench.take()] == [2, None]
    bench.finish(2)
    assert bench.take() == 3


def test_canceled_waiter_lets_the_next_go_on(bench):
    bench.submit(name="d", mode="shared")
    bench.submit(name="d", mode="exclusive")
    bench.submit(name="d", mode="shared")
    assert [bench.take(), bench.take()] == [1, None]
    ask(bench.store, cancel(2, now=0))
    assert bench.take() == 3


def test_waiter_that_was_released_and_then_canceled_blocks_nobody(bench):
    for _ in range(3):
        bench.submit(name="d")
    bench.take()
    assert bench.take() is None
    bench.finish(1)
    ask(bench.store, cancel(2, now=0))
    assert bench.take() == 3


def test_interrupted_job_frees_its_locks(bench):
    bench.submit(name="d")
    bench.submit(name="d")
    bench.take()
    assert bench.take() is None
    ask(bench.store, interrupted(1, 0, bench.tokens[1], now=0))
    assert bench.take() == 1


def test_locks_of_running_jobs_are_known_after_an_opening(bench):
    bench.submit(name="d", priority=10)
    bench.take()
    bench.submit(name="d")
    bench.open()
    bench.scheduler.changed(1, bench.store.find(1))
    assert bench.take() is None


def test_rate_limit_in_a_reason_bounds_its_bucket(bench):
    trail = [["cli", "rate-limit:2:nightly", 1]]
    for _ in range(4):
        bench.submit(reason=trail)
    bench.submit()
    assert [bench.take(), bench.take(), bench.take(), bench.take()] == [1, 2, 5, None]
    bench.finish(2)
    assert [bench.take(), bench.take()] == [3, None]


def test_parameters_or_locks_that_fail_hold_the_job_with_the_reason(bench):
    bench.submit(mode=7)
    bench.submit(name="bad")
    assert bench.take() is None
    assert "mode" in bench.scheduler.why(1).text
    assert "ZeroDivisionError" in bench.scheduler.why(2).text
    assert bench.scheduler.idle


def test_unit_refuses_lock_modes_that_do_not_exist():
    with pytest.raises(InvalidJob, match="maybe"):
        UNITS["OP_SCHED_A"].wanted_locks(SchedA("x", mode="maybe"))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([-10, 0, 10]),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["shared", "exclusive"]),
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 100), max_size=40),
)
def test_no_lock_is_held_twice_and_every_job_is_served(jobs, choices):
    bench = Bench()
    for priority, name, mode in jobs:
        bench.submit(priority=priority, name=name, mode=mode)
    running, served = [], set()
    for choice in itertools.chain(choices, itertools.repeat(0, 3 * len(jobs) + 1)):
        if running and choice % 2:
            bench.finish(running.pop(choice % len(running)))
        elif (job := bench.take()) is not None:
            running.append(job)
            served.add(job)
        elif running:
            bench.finish(running.pop(0))
        modes = {}
        for job in running:
            _, name, mode = jobs[job - 1]
            modes.setdefault(name, []).append(mode)
        for name, held in modes.items():
            assert not name or len(held) == 1 or set(held) == {"shared"}
    assert served == set(range(1, len(jobs) + 1))
