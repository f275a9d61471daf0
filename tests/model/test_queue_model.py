"""The queue against plain dicts: whatever is asked of both, both answer and hold the same."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from jqueue.errors import JQueueError
from jqueue.queue.core import QueueCore
from jqueue.queue.dependencies import judge_dependencies
from jqueue.queue.finishing import finish
from jqueue.queue.running import cancel_done, interrupted, start
from jqueue.store.memory import MemoryStore
from tests.model.queue_model import FINAL, LIMIT, Model, No
from tests.unit.queue.making import FrozenClock

STATUSES = ("queued", "waiting", "canceling", "running", *FINAL)

places = st.integers(0, 2)
seldom = st.sampled_from([True, False, False, False])
keys = st.none() | st.sampled_from(["k", "l"])
uniques = st.none() | st.sampled_from(["u", "v"])
wanted = st.lists(st.sampled_from(FINAL), max_size=2, unique=True)
targets = st.integers(-2, 8).filter(bool)
specs = st.fixed_dictionaries(
    {
        "n": st.integers(1, 2),
        "priority": st.sampled_from([None, None, -10, 0, 10]),
        "retries": st.sampled_from([0, 0, 1]),
        "depends": st.just([]) | st.lists(st.tuples(targets, wanted).map(list), max_size=2),
    }
)
simple = specs.map(lambda spec: {**spec, "depends": []})
ops = st.lists(simple | specs, min_size=1, max_size=3)
entries = st.lists(st.just([]) | ops, max_size=3)


def opcodes(given):
    return [{"OP_ID": "OP_TEST_DELAY", **spec} for spec in given]


class QueueMachine(RuleBasedStateMachine):
    """An engine of its own: override `open_store`, and add rules that crash and call `reopen`."""

    def open_store(self):
        return MemoryStore()

    def open_core(self):
        return QueueCore(self.open_store(), self.clock, user="model")

    def reopen(self):
        self.core = self.open_core()

    @initialize()
    def begin(self):
        self.clock = FrozenClock()
        self.model = Model()
        self.executions = []
        self.core = self.open_core()

    def teardown(self):
        if hasattr(self, "core"):
            self.core.close()

    def both(self, of_model, of_queue):
        """Ask both, and return the answer (None for a refusal) on which they agree."""
        try:
            expected = of_model()
        except No as no:
            try:
                found = of_queue()
            except JQueueError as error:
                assert type(error).__name__ == str(no), error  # noqa: PT017  # and not raised too
                return None
            raise AssertionError(f"answered {found!r}, expected {no}") from None
        found = of_queue()
        assert found == expected
        return found

    def some_job(self, data):
        """A job that is there, now and then one that never was."""
        return data.draw(st.sampled_from([*self.model.jobs, 99]))

    # Submitting

    @rule(given=ops, key=keys, unique=uniques)
    def submit(self, given, key, unique):
        self.both(
            lambda: self.model.submit(given, key, unique),
            lambda: self.core.submit(opcodes(given), key=key, unique=unique),
        )

    @rule(given=entries, key=keys, atomic=st.booleans())
    def submit_many(self, given, key, atomic):
        self.both(
            lambda: self.model.submit_many(given, key, atomic),
            lambda: ids_of(
                self.core.submit_many([opcodes(e) for e in given], key=key, atomic=atomic)
            ),
        )

    @rule(data=st.data(), from_failed=st.booleans())
    def retry(self, data, from_failed):
        job = self.some_job(data)
        self.both(
            lambda: self.model.retry(job, from_failed),
            lambda: self.core.retry(job, from_failed=from_failed),
        )

    # Operating

    @rule(data=st.data(), kill=st.booleans())
    def cancel(self, data, kill):
        job = self.some_job(data)
        self.both(lambda: self.model.cancel(job, kill), lambda: self.core.cancel(job, kill).ok)

    @rule(data=st.data(), priority=st.integers(-20, 19))
    def change_priority(self, data, priority):
        job = self.some_job(data)
        self.both(
            lambda: self.model.change_priority(job, priority),
            lambda: self.core.change_priority(job, priority).ok,
        )

    @rule(data=st.data())
    def archive(self, data):
        job = self.some_job(data)
        self.both(lambda: self.model.archive(job), lambda: self.core.archive(job))

    @rule()
    def auto_archive(self):
        archived = sum([self.model.archive(job) for job in self.model.jobs])
        assert self.core.auto_archive(0) == (archived, 0)

    @rule(on=seldom)
    def drain(self, on):
        self.model.drained = on
        if on:
            self.core.drain("model")
        else:
            self.core.undrain()

    @rule(on=seldom)
    def pause(self, on):
        self.model.paused = on
        if on:
            self.core.pause()
        else:
            self.core.resume()

    @rule(hours=st.sampled_from([1, 11, 24]))
    def time_goes_by(self, hours):
        self.model.now_s += hours * 3600
        self.clock.forward(hours * 3600)

    # Running

    @rule(data=st.data(), at=places)
    def start_any(self, data, at):
        job = self.some_job(data)
        self.start(job, at)

    @rule(data=st.data())
    def start_next(self, data):
        unfinished = self.model.unfinished()
        if unfinished:
            job = data.draw(st.sampled_from(unfinished))
            self.start(job, self.model.next_op(job))

    def start(self, job, at):
        begun = []

        def of_queue():
            rule = start(job, at, now=self.clock.now, livelock="w", max_interruptions=LIMIT)
            begun.append(self.core.store.transact(rule).lsn)

        self.both(lambda: self.model.start(job, at), of_queue)
        if begun:
            self.model.jobs[job]["ops"][at]["token"] = begun[0]
            self.executions.append((job, at, begun[0]))

    def execution(self, data):
        """An execution that ends now: mostly the latest ones, now and then one long gone."""
        return data.draw(st.sampled_from(self.executions[-3:] + self.executions[:2]))

    @rule(data=st.data(), ok=st.booleans(), children=st.none() | entries, strict=st.booleans())
    def finish(self, data, ok, children, strict):
        if not self.executions:
            return
        job, at, token = self.execution(data)

        def of_queue():
            given = None if children is None else [opcodes(entry) for entry in children]
            rule = finish(
                job,
                at,
                token,
                now=self.clock.now,
                ok=ok,
                result={},
                children=given,
                on_refusal="error" if strict else "report",
                retry_delay_s=0,
            )
            answer = self.core.ask(rule)
            return answer.status, ids_of(answer.children)

        self.both(lambda: self.model.finish(job, at, token, ok, children or [], strict), of_queue)

    @rule(data=st.data())
    def interrupt(self, data):
        if self.executions:
            job, at, token = self.execution(data)
            self.both(
                lambda: self.model.interrupted(job, at, token),
                lambda: self.core.ask(interrupted(job, at, token, now=self.clock.now)),
            )

    @rule(data=st.data())
    def cancel_done(self, data):
        job = self.some_job(data)
        self.both(
            lambda: self.model.cancel_done(job),
            lambda: self.core.ask(cancel_done(job, now=self.clock.now)),
        )

    @rule(data=st.data())
    def judge(self, data):
        job = self.some_job(data)
        self.both(
            lambda: self.model.judge(job),
            lambda: str(self.core.ask(judge_dependencies(job, self.clock.now))),
        )

    # What holds always

    @invariant()
    def jobs_are_the_models(self):
        found = {job.id: facts(job) for job in self.core.jobs(archived=True)}
        assert found == {job: self.facts_of_model(job) for job in self.model.jobs}

    def facts_of_model(self, job):
        known = self.model.jobs[job]
        return {
            "ops": [(op["status"], op["priority"], op["depends"]) for op in known["ops"]],
            "status": self.model.status(job),
            "priority": self.model.priority(job),
            "archived": known["archived_at"] is not None,
            "ended": self.model.status(job) in FINAL,
            "names": (known["key"], known["unique"], known["retry_of"], known["submitter"]),
        }

    @invariant()
    def counts_flags_and_serial_are_the_models(self):
        live = [self.model.status(job) for job in self.model.jobs if self.model.live(job)]
        status = self.core.status()
        assert status["counts"] == {name: live.count(name) for name in STATUSES}
        assert self.core.count() == status["jobs"] == len(live)
        assert status["serial"] == self.model.serial
        assert (status["drain"] is not None) == self.model.drained
        assert (self.core.pause_state() is not None) == self.model.paused

    @invariant()
    def derived_values_are_no_more_than_the_unfinished_jobs_need(self):
        unfinished = self.model.unfinished()
        find = self.core.store.find
        for job in self.model.jobs:
            dependents = sum(job in self.model.targets(other) for other in unfinished)
            assert (find(f"waited/{job}") or 0) == dependents
            if not dependents:
                assert find(f"fate/{job}") is None


def ids_of(submissions):
    return [answer.value if answer.ok else None for answer in submissions]


def facts(job):
    submitter = job.submitter
    return {
        "ops": [(str(op.status), op.priority, op.input["depends"]) for op in job.ops],
        "status": str(job.status),
        "priority": job.priority,
        "archived": job.archived,
        "ended": job.ended is not None,
        "names": (
            job.key,
            job.unique,
            job.retry_of,
            None if submitter is None else (submitter["job"], submitter["op"]),
        ),
    }


TestQueueModel = QueueMachine.TestCase
TestQueueModel.settings = settings(max_examples=150, stateful_step_count=50)
