"""Cancellation against everything that can happen to an opcode meanwhile, in every order.

The owner's side is real, on the memory engine: scheduler, runner, port, claims, recovery, endings.
Processes, their locks and their deaths are plain values; what is appended may stay undurable for
as many steps as the example likes.
"""

from collections import Counter
from functools import partial
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jqueue.errors import DiskFull, JQueueError
from jqueue.execution import crew, endings, recovery
from jqueue.execution.claims import Claims
from jqueue.execution.dispatch import Dispatcher
from jqueue.execution.executions import Lock, Options, Worker
from jqueue.execution.port import greet
from jqueue.execution.runner import Runner
from jqueue.execution.units import Unit
from jqueue.execution.wire import WORKER_VERSION
from jqueue.job.opcode import OpCode
from jqueue.job.status import FINALIZED
from jqueue.queue.answer import Answered, answer_of
from jqueue.queue.clock import SystemClock
from jqueue.queue.finishing import finish
from jqueue.queue.operating import cancel
from jqueue.queue.running import EXECUTING, requeue
from jqueue.queue.submission import Terms, submit_one
from jqueue.store import livelock
from jqueue.store.memory import MemoryStore
from jqueue.store.processes import Identity, boot_id
from tests.unit.execution.hands import FakeChannel, HandLoop

WORKERS = 2
STEPS = 300
"""An example that is not over after so many is stuck."""

RUNNING_EVENTS = (
    *("cancel", "cancel", "finish", "finish", "release", "die", "drop", "connect"),
    *("flush", "turn", "bury", "timer", "soft_cancel", "full", "room", "restart"),
)
STARTING_EVENTS = (
    *("start", "finish", "cancel", "cancel", "soft_cancel", "claim", "die", "die", "drop"),
    *("bury", "bury", "connect", "flush", "turn", "timer", "full", "room", "restart"),
)


class RaceTest(OpCode):
    name: str = ""


UNITS = {
    "OP_RACE_TEST": Unit(
        RaceTest, print, lambda op: {op.name: "exclusive"} if op.name else {}, max_running=3
    )
}


class Timer:
    def __init__(self, call):
        self.call = call

    def cancel(self):
        self.call = None


class Loop(HandLoop):
    """Its timers fire when the test says so."""

    def call_later(self, delay_s, call):
        self.later.append(Timer(call))
        return self.later[-1]

    def fire(self, place):
        self.later = [timer for timer in self.later if timer.call is not None]
        if self.later:
            call = self.later.pop(place % len(self.later)).call
            call()


class Process:
    """A worker or claimant: alive until it is killed, executing what it was told to."""

    numbers = iter(range(10_000_000, 1_000_000_000))

    def __init__(self, *, old=False):
        self.old = old
        """Whether it is of version 1: it takes its next livelock after the answer to its finish."""
        pid = next(self.numbers)
        self.identity = Identity(pid, 1, boot_id(), pid)
        self.alive, self.finishing = True, False
        self.execution = (0, 0, 0)
        self.channel = self.port = self.following = None
        self.lock = self.new_lock()

    def new_lock(self):
        return f"worker-{self.identity.pid % 10**9}-{next(self.numbers):024x}"

    def say(self, *message):
        if self.channel is not None:
            self.port.receive(list(message))


class Grave:
    """In a `Burial`'s place: it is over when the test says so."""

    def __init__(self, machine, identity, lock, buried, grace_s):
        self.machine, self.identity, self.lock, self.buried = machine, identity, lock, buried
        self.gentle = identity is not None and grace_s is not None
        self.awaits = "the test"
        machine.graves.append(self)

    def hurry(self):
        self.gentle = False

    def stop(self):
        self.machine.graves.remove(self)

    def close(self):
        """Kill what is left; say whether that was all."""
        if self.identity is not None:
            self.machine.die(self.identity)
        if self.lock is not None and self.lock[0] in self.machine.held_locks():
            return
        if self in self.machine.graves:
            self.machine.graves.remove(self)
            self.buried()


picks = st.integers(0, 5)


class CancelRaces(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.store = MemoryStore()
        self.processes, self.claimants, self.graves, self.asked = [], [], [], []
        self.canceled, self.kept = set(), {}
        self.told = Counter()
        """How often somebody was told to execute an opcode."""
        self.unsure = Counter()
        """How often an owner died after the record of a start, and the next can't know of it."""

        def is_alive(identity):
            return any(one.alive for one in self.processes if one.identity == identity)

        self.patches = [
            *(mock.patch.object(where, "Burial", self.bury) for where in (crew, endings, recovery)),
            mock.patch.object(livelock, "place_of", return_value=livelock.Place(1, 1)),
            mock.patch.object(livelock, "is_free", lambda _fd, name, inode: not self.is_held(name)),
            mock.patch.object(Identity, "is_alive", is_alive),
            mock.patch.object(crew.Crew, "watch_process"),
            mock.patch.object(
                recovery, "session_members", lambda one: [1] if is_alive(one) else []
            ),
        ]
        for patch in self.patches:
            patch.start()
        self.open()
        for process in self.processes:
            self.greet(process)
        self.submit("", 2, settle=True)

    def open(self):
        self.loop = Loop(self.store)
        self.dispatcher = Dispatcher(self.store, UNITS, SystemClock())
        options = Options(workers=WORKERS, kinds=frozenset(UNITS))
        self.runner = Runner(
            self.loop, self.store, self.dispatcher, SystemClock(), -1, options, self.launch,
            max_live_jobs=100,
        )  # fmt: skip
        self.claims = Claims(self.runner)
        self.loop.after_turn = self.runner.turn
        recovery.recover(self.runner)
        self.runner.crew.launch_missing()

    def launch(self):
        self.processes.append(Process(old=len(self.processes) % 3 == 1))
        return Worker(self.processes[-1].identity)

    def bury(self, _loop, _fd, identity, lock, buried, *, grace_s=None):
        return Grave(self, identity, lock, buried, grace_s)

    # The kernel

    def is_held(self, name):
        return name in self.held_locks()

    def held_locks(self):
        alive = [one for one in self.processes + self.claimants if one.alive]
        return {lock for one in alive for lock in (one.lock, one.following)}

    def die(self, identity):
        for one in self.processes:
            if one.identity == identity and one.alive:
                one.alive = False
                self.disconnect(one)
                worker = self.runner.crew.find(identity)
                if worker is not None:
                    self.runner.crew._died(worker)

    def disconnect(self, process):
        port, process.channel, process.port = process.port, None, None
        if port is not None:
            port.closed()

    # What a worker does

    def greet(self, process):
        job, op, token = process.execution
        process.channel = FakeChannel()
        hello = {
            "version": 1 if process.old else WORKER_VERSION, **process.identity.to_dict(),
            "livelock": process.lock, "inode": 1, "job": job, "op": op, "token": token,
        }  # fmt: skip
        process.port = greet(self.runner, process.channel, hello, process.identity.pid)
        if process.finishing:
            self.say_finish(process)

    def begin_finish(self, process):
        if not process.finishing:
            process.finishing = True
            process.following = None if process.old else process.new_lock()
            self.say_finish(process)

    def say_finish(self, process):
        token = process.execution[2]
        last = ([process.following, 1],) if process.following else ()
        process.say("finish", token, [], True, token, None, "report", True, *last)

    def hear(self):
        """Let all workers deal with what they were told."""
        for process in self.processes:
            for message in process.channel.take() if process.channel is not None else ():
                self.on_message(process, message)

    def on_message(self, process, message):
        word = message[0]
        if word == "start":
            assert process.execution == (0, 0, 0)
            self.check_alone(message[1], message[2])
            process.execution = tuple(message[1:4])
            self.told[message[1], message[2]] += 1
        elif word == "ok":
            assert message[1] == process.execution[2], "it is told the end of another opcode"
            self.keep(process.execution)
            process.execution, process.finishing = (0, 0, 0), False
            process.lock, process.following = process.following or process.new_lock(), None
            if process.old:
                process.say("idle", process.lock, 1)
        elif word == "end":
            self.die(process.identity)
        elif word == "again":
            self.say_finish(process)

    def check_alone(self, job, op):
        executing = [one.execution[:2] for one in self.processes + self.claimants if one.alive]
        assert (job, op) not in executing, "an opcode is started while it executes"

    def keep(self, execution):
        job, op, token = execution
        assert self.kept.setdefault((job, op), token) == token

    # Steps

    def step(self, settle):
        """Let what was begun become durable, and be heard of; or not yet."""
        if not settle:
            return
        for _ in range(STEPS):
            self.loop.turn()
            self.store.flush()
            self.hear()
            if not (self.loop.begun or self.loop.soon or self.runner._dirty):
                break
        asked, self.asked = self.asked, []
        for ticket, job in asked:
            try:
                outcome = answer_of(ticket.wait())
            except Answered as answered:
                outcome = answered.answer
            if outcome.ok:
                self.canceled.add(job)

    # Races: several things happen to one job, before anybody hears of any of them

    @rule(pick=picks, events=st.lists(st.sampled_from(RUNNING_EVENTS), min_size=2, max_size=5),
          settle=st.booleans())  # fmt: skip
    def race_of_what_runs(self, pick, events, settle):
        busy = [one for one in self.processes + self.claimants if one.alive and one.execution[2]]
        if busy:
            self.race(busy[pick % len(busy)], busy[pick % len(busy)].execution[0], events)
        self.step(settle)

    @rule(pick=picks, events=st.lists(st.sampled_from(STARTING_EVENTS), min_size=1, max_size=5),
          settle=st.booleans())  # fmt: skip
    def race_of_what_starts(self, pick, events, settle):
        """It starts on an idle worker, or beside the finish of what the worker has."""
        there = [one for one in self.processes if one.channel is not None]
        if there:
            holder = there[pick % len(there)]
            if holder.execution[2]:
                self.begin_finish(holder)
            if not (ready := self.ready_jobs()):
                self.submit("", 1, settle=False)
                ready = self.ready_jobs()
            self.race(holder, ready[pick % len(ready)], ["start", *events])
        self.step(settle)

    def ready_jobs(self):
        found = []
        for document in self.jobs():
            statuses = {op["status"] for op in document["ops"]}
            if {"queued", "waiting"} & statuses and not statuses & set(EXECUTING):
                found.append(document["id"])
        return found

    def race(self, holder, job, events):
        for event in events:
            getattr(self, f"on_{event}")(holder, job)

    def on_cancel(self, _holder, job):
        self.ask_cancel(job, kill=True)

    def on_soft_cancel(self, _holder, job):
        self.ask_cancel(job, kill=False)

    def on_finish(self, holder, _job):
        if holder in self.claimants:
            self.leave(holder, lambda: self.last_word(holder, release=False))
        elif holder.alive and holder.execution[2]:
            self.begin_finish(holder)

    def on_release(self, holder, _job):
        if holder in self.claimants:
            self.leave(holder, lambda: self.last_word(holder, release=True))

    def on_die(self, holder, _job):
        if holder in self.claimants:
            self.leave(holder, lambda: None)
        else:
            self.die(holder.identity)

    def leave(self, claimant, say):
        if claimant.alive:
            say()
            claimant.alive = False
            claimant.gone()

    def on_drop(self, holder, _job):
        self.disconnect(holder)

    def on_connect(self, holder, _job):
        if holder in self.processes and holder.alive and holder.channel is None:
            self.greet(holder)

    def on_start(self, _holder, _job):
        self.runner.turn()

    def on_claim(self, _holder, _job):
        self.claim_one()

    def on_flush(self, _holder, _job):
        self.store.flush()

    def on_turn(self, _holder, _job):
        self.step(settle=True)

    def on_bury(self, _holder, _job):
        for grave in list(self.graves):
            grave.close()

    def on_timer(self, _holder, _job):
        self.loop.fire(0)

    def on_full(self, _holder, _job):
        self.loop.failing = DiskFull("full")

    def on_room(self, _holder, _job):
        self.loop.failing = None

    def on_restart(self, _holder, _job):
        self.reopen()

    @rule(name=st.sampled_from(["", "", "disk"]), ops=st.integers(1, 2), settle=st.booleans())
    def submit(self, name, ops, settle):
        given = [{"OP_ID": "OP_RACE_TEST", "name": name} for _ in range(ops)]
        self.store.transact(submit_one(given, Terms(1)))
        self.step(settle)

    @rule(pick=picks, kill=st.booleans(), settle=st.booleans())
    def cancel(self, pick, kill, settle):
        self.ask_cancel(pick % self.store.find("serial") + 1, kill=kill)
        self.step(settle)

    def ask_cancel(self, job, *, kill):
        self.asked.append((self.store.begin(cancel(job, now=1, kill=kill)), job))

    @rule(pick=picks, settle=st.booleans())
    def connect(self, pick, settle):
        away = [one for one in self.processes if one.alive and one.channel is None]
        if away:
            self.greet(away[pick % len(away)])
        self.step(settle)

    @rule(pick=picks, settle=st.booleans())
    def lose_connection(self, pick, settle):
        there = [one for one in self.processes if one.channel is not None]
        if there:
            self.disconnect(there[pick % len(there)])
        self.step(settle)

    @rule(pick=picks, settle=st.booleans())
    def finish(self, pick, settle):
        busy = [one for one in self.processes if one.alive and one.execution[2]]
        if busy:
            self.begin_finish(busy[pick % len(busy)])
        self.step(settle)

    @rule(pick=picks, reconnects=st.booleans(), settle=st.booleans())
    def finish_that_is_said_again(self, pick, reconnects, settle):
        """It comes twice before its record is durable: on another connection, or by `again`."""
        busy = [one for one in self.processes if one.channel is not None and one.execution[2]]
        if busy:
            process = busy[pick % len(busy)]
            self.begin_finish(process)
            self.runner.turn()
            if reconnects:
                self.disconnect(process)
                self.greet(process)
            else:
                self.say_finish(process)
        self.step(settle)

    @rule(pick=picks, settle=st.booleans())
    def kill_worker(self, pick, settle):
        alive = [one for one in self.processes if one.alive]
        if alive:
            self.die(alive[pick % len(alive)].identity)
        self.step(settle)

    @rule(pick=picks, settle=st.booleans())
    def end_of_a_grace(self, pick, settle):
        if self.graves:
            self.graves[pick % len(self.graves)].close()
        self.step(settle)

    @rule(pick=picks, settle=st.booleans())
    def timer(self, pick, settle):
        self.loop.fire(pick)
        self.step(settle)

    @rule(settle=st.booleans())
    def start_only(self, settle):
        """What can be started is appended, and durable no sooner than the next step."""
        self.runner.turn()
        self.step(settle)

    @rule(settle=st.booleans())
    def start_is_lost(self, settle):
        """The connection breaks between the record of a start and its delivery."""
        self.runner.turn()
        told = [one.execution[0] for one in self.processes]
        lost = [one for one in self.runner.endings.executions.values() if one.job not in told]
        for process in self.processes:
            if any(one.identity == process.identity for one in lost):
                self.disconnect(process)
        self.step(settle)

    @rule()
    def other_thread_syncs(self):
        """Everything becomes durable, while the loop has not looked yet."""
        self.store.flush()

    @rule(full=st.booleans(), settle=st.booleans())
    def disk(self, full, settle):
        self.loop.failing = DiskFull("full") if full else None
        self.step(settle)

    @rule()
    def restart(self):
        self.reopen()

    def reopen(self):
        """The owner dies; what it had appended is durable, what it was about to say is not said."""
        self.store.flush()
        self.step_without_loop()
        told = {one.execution for one in self.processes + self.claimants}
        for document in self.jobs():
            for at, op in enumerate(document["ops"]):
                known = (document["id"], at, op.get("token")) in told
                self.unsure[document["id"], at] += op["status"] in EXECUTING and not known
        for process in self.processes:
            process.channel = process.port = None
        for claimant in self.claimants:
            claimant.gone = lambda: None
        self.dispatcher.close()
        self.loop.unwatch(self.runner._steps.fd)
        self.runner._steps.close()
        self.graves = []
        self.open()

    def step_without_loop(self):
        self.loop.begun.clear()
        self.loop.soon.clear()
        self.loop.after_turn = lambda: None
        self.runner._dirty = False
        self.step(settle=True)

    @rule(settle=st.booleans())
    def claim(self, settle):
        self.claim_one()
        self.step(settle)

    def claim_one(self):
        claimant = Process()
        claimant.lock = claimant.lock.replace("worker", "claim")

        def answered(found):
            if not isinstance(found, JQueueError) and found.document is not None:
                self.check_alone(found.document["id"], found.op_index)
                claimant.execution = found.document["id"], found.op_index, found.token
                self.told[found.document["id"], found.op_index] += 1
                self.claimants.append(claimant)

        lock = Lock(claimant.lock, 1, 1)
        request = self.claims.request(lock, None, 0, answered)
        claimant.gone = partial(self.claims.gone, request)

    @rule(pick=picks, release=st.booleans(), vanish=st.booleans(), settle=st.booleans())
    def end_claim(self, pick, release, vanish, settle):
        holding = [one for one in self.claimants if one.alive]
        if holding:
            claimant = holding[pick % len(holding)]
            say = partial(self.last_word, claimant, release=release)
            self.leave(claimant, (lambda: None) if vanish else say)
        self.step(settle)

    def last_word(self, claimant, *, release):
        job, op, token = claimant.execution
        decide = requeue(job, op, token)
        if not release:
            decide = finish(job, op, token, now=1, ok=True, result=token)
        try:
            self.store.transact(decide)
        except Answered:
            pass
        except JQueueError:
            return
        self.claims.done(job, token)
        if not release:
            self.keep(claimant.execution)

    # What holds

    def jobs(self):
        found = [self.store.find(job) for job in range(1, (self.store.find("serial") or 0) + 1)]
        return [entry.document for entry in found]

    @invariant()
    def what_was_canceled_stays_so_and_what_was_kept_too(self):
        if not hasattr(self, "store"):
            return
        for document in self.jobs():
            statuses = [op["status"] for op in document["ops"]]
            if document["id"] in self.canceled:
                assert {"canceling", "canceled"} & set(statuses), statuses
                assert not {"running", "queued", "waiting"} & set(statuses), statuses
            for at, op in enumerate(document["ops"]):
                kept = self.kept.get((document["id"], at))
                assert kept is None or (op["status"], op["result"]) == ("success", kept)
                told = self.told[document["id"], at] + self.unsure[document["id"], at]
                assert op.get("interruptions", 0) <= told, "what nobody began was interrupted"

    @invariant()
    def whatever_runs_is_in_somebodys_hands(self):
        """Also while records are on their way, and in the middle of everything else."""
        if not hasattr(self, "store"):
            return
        executions = self.runner.endings.executions
        for document in self.jobs():
            for op in document["ops"]:
                known = op["status"] not in EXECUTING or document["id"] in executions
                assert known, "the owner has forgotten what runs"
        granted = {request.execution for request in self.claims._granted.values()}
        for one in executions.values():
            assert one.is_in_hand, f"nobody will end opcode {one.op_index} of job {one.job}"
            kept = not one.claimed or one in granted or one.burial
            assert kept, f"the claim of job {one.job} is lost"
        for worker in self.runner.crew.workers:
            waited_for = worker.channel or worker.silence or worker.burial
            assert waited_for, "a worker is gone, and nobody misses it"

    def teardown(self):
        """Everybody does what he has to do: then nothing is left, and no locks are held."""
        if not hasattr(self, "store"):
            return
        try:
            self.loop.failing = None
            for _ in range(STEPS):
                self.step(settle=True)
                if all(op["status"] in FINALIZED for one in self.jobs() for op in one["ops"]):
                    break
                self.everybody_goes_on()
            statuses = {one["id"]: [op["status"] for op in one["ops"]] for one in self.jobs()}
            assert all(status in FINALIZED for each in statuses.values() for status in each), (
                statuses
            )
            assert all("canceled" in statuses[job] for job in self.canceled)
            self.what_was_canceled_stays_so_and_what_was_kept_too()
        finally:
            for patch in self.patches:
                patch.stop()
            self.runner._steps.close()

    def is_canceling(self, process):
        """Whether somebody has to end it: it is stubborn, and won't by itself."""
        job, op, _ = process.execution
        return self.jobs()[job - 1]["ops"][op]["status"] == "canceling"

    def everybody_goes_on(self):
        for process in self.processes:
            if process.alive and process.channel is None:
                self.greet(process)
            elif process.alive and process.execution[2] and not self.is_canceling(process):
                self.begin_finish(process)
        for claimant in self.claimants:
            self.leave(claimant, partial(self.last_word, claimant, release=False))
        for grave in list(self.graves):
            grave.close()
        self.loop.fire(0)


TestCancelRaces = CancelRaces.TestCase
# Others in each run: what is green today says something of every order.  A failure prints how to
# repeat it, and `make torture` draws many more.
TestCancelRaces.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)


@pytest.mark.torture
@pytest.mark.timeout(1200)
class TestCancelRacesAtRandom(CancelRaces.TestCase):
    settings = settings(max_examples=5000, stateful_step_count=30, deadline=None)
