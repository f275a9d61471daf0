"""The scheduler, pure: order, what holds a job, and what releases it."""

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqueue.errors import InvalidJob
from jqueue.execution.dispatch import unsettled
from jqueue.execution.obstacles import obstacles
from jqueue.execution.scheduler import Scheduler
from jqueue.execution.units import Unit
from jqueue.execution.upcoming import smallest
from jqueue.job.opcode import OpCode
from jqueue.queue.answer import Answered, ask
from jqueue.queue.finishing import LONGEST_BACKOFF_S, finish
from jqueue.queue.operating import cancel, set_priority
from jqueue.queue.running import age, interrupted, start
from jqueue.queue.submission import Terms, submit_one
from jqueue.store.memory import MemoryStore

NS = 10**9


class SchedA(OpCode):
    name: str = ""
    mode: str = "exclusive"


class SchedB(SchedA):
    OP_ID = "OP_SCHED_B"


class SchedLimited(OpCode):
    pass


def locks_of(op):
    if op.name == "bad":
        raise ZeroDivisionError
    return {op.name: op.mode} if op.name else {}


UNITS = {
    "OP_SCHED_A": Unit(SchedA, print, locks_of),
    "OP_SCHED_B": Unit(SchedB, print, locks_of, max_running=2),
    "OP_SCHED_LIMITED": Unit(SchedLimited, print, max_running=2),
}


class Bench:
    """A scheduler on a memory store, with clocks that are set by hand."""

    def __init__(self, age_s=30.0):
        self.store = MemoryStore()
        self.now_s = 1_000_000_000.0
        self.steady_s = 50.0
        self.age_s = age_s
        self.tokens = {}
        self.forget = lambda: None
        self.open()

    def open(self):
        """The owner begins, or begins again after a crash: all that it knows is in the store."""
        self.forget()
        self.scheduler = Scheduler(
            self.store.find,
            self.store.claim_order(),
            UNITS,
            lambda: self.now_s,
            lambda: self.steady_s,
            age_s=self.age_s,
        )
        self.forget = self.store.subscribe(self.scheduler.note)
        with self.store.snapshot() as moment:
            for job, _, _ in unsettled(moment):
                self.scheduler.changed(job, self.store.find(job))

    def passes(self, seconds):
        self.now_s += seconds
        self.steady_s += seconds

    def age_all(self):
        for job, at in self.scheduler.take_aged():
            with contextlib.suppress(Answered):
                ask(self.store, age(job, at))

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
        more.setdefault("ok", True)
        decide = finish(job, op, self.tokens[job], now=int(self.now_s * NS), **more)
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


def test_what_comes_next_is_told_in_order_and_telling_takes_nothing(bench):
    kinds = frozenset({"OP_SCHED_A"})
    bench.submit({"OP_ID": "OP_UNKNOWN", "priority": -10})
    for priority in (10, 0, 0, 0):
        bench.submit(priority=priority)
    bench.open()
    for priority in (-10, 0, 10):
        bench.submit(priority=priority)
    bench.submit(depends=[[1, []]])
    unread = [rank[1] for rank in bench.scheduler.upcoming(20, kinds)]
    assert unread == [1, 6, 3, 4, 5, 7, 9, 2, 8]
    taken = [bench.take(kinds) for _ in range(2)]
    told = [rank[1] for rank in bench.scheduler.upcoming(20, kinds)]
    assert told[:4] == [rank[1] for rank in bench.scheduler.upcoming(4, kinds)]
    rest = [bench.take(kinds) for _ in range(5)]
    assert taken + rest == [6, 3, 4, 5, 7, 2, 8]
    assert [job for job in told if job not in (1, 9)] == rest
    assert told[-1] == 1
    assert bench.take(kinds) is None
    assert bench.scheduler.held.counts == {"dependency": 1}


def test_what_left_and_came_back_is_told_once_and_a_long_queue_is_not_read(bench):
    for _ in range(3000):
        bench.submit()
    bench.scheduler.take()
    for _ in range(3):
        for priority in (5, 0):
            ask(bench.store, set_priority(7, priority))
    heap = bench.scheduler._heaps["OP_SCHED_A"]
    looked = []
    found = smallest(heap, lambda rank: looked.append(rank) or rank[1] != 3)
    assert [next(found)[1] for _ in range(8)] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert len(looked) < 12


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
    [held] = obstacles(bench.scheduler, 3)
    assert (held.reason, held.jobs) == ("limit", (1, 2))
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
    bench.submit(not_before=1_000_000_500)
    assert bench.take() is None
    assert bench.scheduler.due_in_s() == 500
    assert bench.scheduler.idle
    bench.now_s = 1_000_000_500.0
    assert bench.take() == 1


def test_locks_are_granted_in_order_and_released_by_the_end(bench):
    for _ in range(3):
        bench.submit(name="disk")
    bench.submit(name="other")
    assert [bench.take(), bench.take(), bench.take()] == [1, 4, None]
    [held] = obstacles(bench.scheduler, 2)
    assert (held.reason, held.text) == ("locks", "it waits for disk, which job 1 has")
    [held] = obstacles(bench.scheduler, 3)
    assert held.text == "it waits for disk, which job 1 has"
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


# Clocks


@pytest.mark.parametrize("step_s", [-86_400, -0.5, 0.5, 86_400])
def test_a_backoff_takes_its_time_whatever_is_done_to_the_clock(bench, step_s):
    bench.submit(retries=1)
    bench.take()
    bench.finish(1, ok=False, retry_delay_s=2)
    bench.now_s += step_s
    assert bench.take() is None
    bench.passes(1.9)
    assert bench.take() is None
    assert 0 < bench.scheduler.due_in_s() <= 0.11
    bench.passes(0.2)
    assert bench.take() == 1


def test_a_clock_that_was_set_back_during_a_restart_keeps_no_retry_longer_than_a_backoff(bench):
    bench.submit(retries=1)
    bench.take()
    bench.finish(1, ok=False, retry_delay_s=2)
    bench.now_s -= 10 * 86_400
    bench.open()
    bench.take()
    bench.passes(LONGEST_BACKOFF_S)
    assert bench.take() == 1


@pytest.mark.parametrize("step_s", [-600, 600])
def test_a_time_that_somebody_gave_follows_the_clock_when_it_is_set(bench, step_s):
    bench.submit(not_before=1_000_000_500)
    assert bench.take() is None
    bench.now_s += step_s
    assert bench.take() == (1 if step_s > 0 else None)
    assert bench.scheduler.due_in_s() == (None if step_s > 0 else 1100)


# Waiting for locks


def test_who_waits_for_locks_rises_by_one_in_each_turn_of_patience_until_it_has_them(bench):
    bench.submit(name="d")
    bench.submit(name="d", priority=10)
    bench.take()
    bench.take()
    for priority in (10, 9, 8):
        assert bench.store.find(2).document["ops"][0]["priority"] == priority
        assert bench.scheduler.due_in_s() == 30
        bench.passes(30)
        bench.age_all()
        bench.take()
    bench.finish(1)
    assert bench.take() == 2
    bench.passes(30)
    assert bench.scheduler.take_aged() == []


# It aged no more once it had been a candidate, unchosen, at the moment of its rise.
def test_who_was_passed_over_by_a_more_urgent_one_goes_on_rising(bench):
    bench.submit(name="d")
    bench.submit(name="d")
    bench.take()
    bench.take()
    bench.finish(1)
    bench.submit(name="d", priority=-10)
    bench.passes(30)
    bench.age_all()
    assert bench.take() == 3
    assert bench.take() is None
    bench.passes(30)
    assert bench.scheduler.take_aged() == [(2, 0)]


def test_who_rises_keeps_its_place_though_its_kind_may_not_start_just_now(bench):
    bench.submit(name="d")
    bench.submit(name="d")
    bench.take()
    bench.take()
    bench.finish(1)
    bench.passes(30)
    bench.age_all()
    bench.submit({"OP_ID": "OP_SCHED_B", "name": "d"})
    assert bench.take(frozenset({"OP_SCHED_B"})) is None
    assert bench.take() == 2


def test_an_earlier_waiter_keeps_its_places_from_being_taken(bench):
    # With places of its own kind free now and then, but never both at once, it starved.
    one, two = (["cli", f"rate-limit:1:{name}", 1] for name in "ab")
    bench.submit(reason=[one])
    bench.submit(reason=[two])
    bench.submit(reason=[one, two])
    assert [bench.take(), bench.take(), bench.take()] == [1, 2, None]
    bench.submit(reason=[one])
    bench.submit(reason=[two])
    bench.finish(1)
    assert bench.take() is None
    [held] = obstacles(bench.scheduler, 4)
    assert held.jobs == (3,)
    bench.finish(2)
    assert bench.take() == 3


def test_a_waiter_that_becomes_less_urgent_lets_others_pass(bench):
    bench.submit(name="d", mode="shared")
    bench.submit(name="d")
    bench.submit(name="d", mode="shared")
    assert [bench.take(), bench.take()] == [1, None]
    ask(bench.store, set_priority(2, 19))
    assert bench.take() == 3


MODES = ("shared", "exclusive", "rate-limit:2:x")
jobs_wanting = st.lists(
    st.tuples(
        st.sampled_from([-10, 0, 10]),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(MODES),
        st.sampled_from(["OP_SCHED_A", "OP_SCHED_B"]),
    ),
    max_size=12,
)


def submit_wanting(bench, priority, name, mode, kind):
    common = {"OP_ID": kind, "priority": priority}
    if mode in MODES[:2]:
        return bench.submit({**common, "name": name, "mode": mode})
    return bench.submit({**common, "name": name, "reason": [["cli", mode, 1]]})


def assert_nothing_is_held_twice(bench, running):
    modes = {}
    for job in running:
        for name, mode in (bench.store.find(job).document["ops"][0].get("locks") or {}).items():
            modes.setdefault(name, []).append(mode)
    for held in modes.values():
        fits = len(held) == 1 or set(held) == {"shared"} or len(held) <= held[0]
        assert fits, modes
    limited = [job for job in running if kind_of(bench, job) == "OP_SCHED_B"]
    assert len(limited) <= 2


def kind_of(bench, job):
    return bench.store.find(job).document["ops"][0]["input"]["OP_ID"]


@given(jobs_wanting, st.lists(st.integers(0, 300), max_size=60))
def test_no_lock_is_held_twice_over_any_crash_and_every_job_is_served(jobs, choices):
    bench = Bench()
    for wanting in jobs:
        submit_wanting(bench, *wanting)
    running, served = [], set()
    for choice in itertools.chain(choices, itertools.repeat(0, 3 * len(jobs) + 1)):
        if choice % 7 == 5:
            bench.open()
        elif choice % 7 == 6 and running:
            lost = running.pop(choice % len(running))
            ask(bench.store, interrupted(lost, 0, bench.tokens[lost], now=0, counted=False))
        elif running and choice % 2:
            bench.finish(running.pop(choice % len(running)))
        elif (job := bench.take()) is not None:
            running.append(job)
            served.add(job)
        elif running:
            bench.finish(running.pop(0))
        assert_nothing_is_held_twice(bench, running)
    assert served == set(range(1, len(jobs) + 1))


LASTS_S = 3
AGE_S = 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_waiter_is_served_within_the_bound_that_is_proved(data):
    """ARCHITECTURE.md: within (p + 20) · A + (m + 1) · D, however urgent those are who come."""
    bench = Bench(age_s=AGE_S)
    ends, bounds = {}, {}
    wanting = st.tuples(
        st.sampled_from([-10, 0, 10]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(MODES),
        st.just("OP_SCHED_A"),
    )
    for second in range(90):
        # Newcomers never cease; most are more urgent than those who wait.
        for _ in range(data.draw(st.integers(0, 2)) if second < 60 else 0):
            submit_wanting(bench, *data.draw(wanting))
        while (job := bench.take()) is not None:
            assert second <= bounds.get(job, second), f"job {job} waited too long"
            ends[job] = second + data.draw(st.integers(1, LASTS_S))
        for job in range(1, (bench.store.find("serial") or 0) + 1):
            if job not in ends and job not in bounds and bench.scheduler.table.waits(job):
                older = sum(1 for other in range(1, job) if other not in ends)
                priority = bench.store.find(job).document["ops"][0]["priority"]
                bounds[job] = second + (priority + 20) * AGE_S + (older + 1) * LASTS_S
        bench.passes(1)
        bench.age_all()
        for job in [job for job, end in ends.items() if end == second + 1]:
            bench.finish(job)
        assert all(second <= bounds[job] for job in bounds if job not in ends)
