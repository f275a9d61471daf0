"""A storm over a machine: what strikes at random moments, and what must be true when it is over.

The evidence is outside of the queue: units write (job, opcode, attempt, begin or end, pid, time) to
a file, and hold a lock of their own, so that whoever executes the same a second time says OVERLAP.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter, defaultdict
from functools import partial

from jqueue import connect
from jqueue.errors import JQueueError
from tests.acceptance.conftest import is_gone, until

JOBS = 8
CHILDREN = 2
EARLY = 2
WORKERS = 3
EXEC = """
exec 9>>"$1-exec-$2"
flock -n 9 || echo "$2 0 0 OVERLAP $$ 0" >>"$1"
echo "$2 0 0 begin $$ $(date +%s%N)" >>"$1"
trap '' TERM
sleep 0.0$3 & wait
echo "$2 0 0 end $$ $(date +%s%N)" >>"$1"
"""
"""The child of this child holds the lock on, and heeds no SIGTERM."""


class Storm:
    def __init__(self, machine, seed):
        self.machine = machine
        self.client = machine.client
        self.chance = random.Random(seed)
        self.seed = seed
        self.rounds = 0
        self.roots = {}
        """Jobs that were submitted here, by ID, and what each is called in the evidence."""
        self.canceled = set()
        self.stopped = set()
        self.held = []
        self.struck = Counter()
        self.start()

    def start(self):
        self.machine.start(workers=WORKERS, silence_s=1.0, kill_grace_s=0.2)

    # Submitting

    def submit(self):
        alone = {"OP_ID": "OP_ALONE", "path": str(self.machine.notes), "takes_s": 0.01}
        for number in range(JOBS):
            name = f"{self.seed}-{self.rounds}-{number}"
            kind = self.chance.choice(["alone", "alone", "exec", "claim"])
            if kind == "alone":
                ops = [{**alone, "children": CHILDREN}, alone]
            elif kind == "exec":
                argv = ["sh", "-c", EXEC, "sh", str(self.machine.notes), f"exec-{name}"]
                ops = [{"OP_ID": "OP_EXEC", "argv": [*argv, str(self.chance.randrange(1, 5))]}]
            else:
                ops = [{"OP_ID": "OP_CLAIMED"}]
            job = self.client.submit(ops, key=name)
            assert job not in self.roots
            self.roots[job] = f"exec-{name}" if kind == "exec" else str(job)

    # Striking

    def round(self):
        """Submit, and strike at some moment of what follows."""
        self.rounds += 1
        self.submit()
        if self.chance.random() < 0.3:
            time.sleep(self.chance.random() * 0.05)
        else:
            self.until_more(self.chance.randrange(1, 3 * JOBS))
        strikes = (
            (4, self.kill_daemon),
            (1, partial(self.kill_daemon, and_worker=True)),
            (4, self.kill_worker),
            (2, self.stop_worker),
            (2, self.cancel_running),
            (2, self.cancel_any),
            (1, self.restart),
            (1, partial(self.restart, hurried=True)),
            (3, self.claim),
        )
        weights, what = zip(*strikes, strict=True)
        for strike in self.chance.choices(what, weights, k=self.chance.randrange(1, 4)):
            self.struck[getattr(strike, "func", strike).__name__] += 1
            strike()
        for pid in [pid for pid in self.stopped if self.chance.random() < 0.5]:
            self.go_on(pid)

    def until_more(self, count):
        """Let units write so many lines, or the queue run dry."""
        seen, end = len(self.machine.written()), time.monotonic() + 2.0
        while len(self.machine.written()) < seen + count and time.monotonic() < end:
            os.sched_yield()

    def workers(self):
        """Return the workers that lately began something."""
        pids = {int(line[4]) for line in self.machine.written()[-40:] if line[3] == "begin"}
        return [pid for pid in sorted(pids) if is_worker(pid)]

    def kill_daemon(self, *, and_worker=False):
        self.machine.kill()
        if and_worker:
            self.kill_worker()
        self.start()

    def kill_worker(self):
        self.signal_worker(signal.SIGKILL)

    def stop_worker(self):
        pid = self.signal_worker(signal.SIGSTOP)
        if pid is not None:
            self.stopped.add(pid)

    def signal_worker(self, number):
        pids = self.workers()
        if not pids:
            return None
        pid = self.chance.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def go_on(self, pid):
        self.stopped.discard(pid)
        if is_worker(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def cancel_running(self):
        running = [job.id for job in self.client.jobs(statuses=["running"])]
        if running:
            self.cancel(self.chance.choice(running), kill=True)

    def cancel_any(self):
        self.cancel(self.chance.choice(sorted(self.roots)), kill=self.chance.random() < 0.3)

    def cancel(self, job, kill):
        if self.client.cancel(job, kill):
            self.canceled.add(job)

    def restart(self, *, hurried=False):
        for pid in list(self.stopped):
            self.go_on(pid)
        until(lambda: [1] if self.client.has_owner else [])
        if hurried:
            self.machine.daemon.send_signal(signal.SIGTERM)
        else:
            # A claim that is held here would be waited for by nobody: it is not the daemon's.
            self.client.pause()
        assert self.machine.terminate() == 0
        self.start()
        self.client.resume()

    def claim(self):
        """Get an opcode; end it one way or another, now or over the next strikes."""
        while self.held:
            self.end_claim(*self.held.pop())
        # A claimant that vanishes takes its connections along.
        claimant = connect(self.machine.queue, timeout_s=30)
        claim = claimant.claim(["OP_CLAIMED"])
        if claim is None:
            claimant.close()
            return
        write(self.machine.notes, claim, "begin")
        self.held.append((claim, claimant))
        if self.chance.random() < 0.5:
            self.end_claim(*self.held.pop())

    def end_claim(self, claim, claimant):
        how = self.chance.choice(["finish", "finish", "release", "vanish"])
        write(self.machine.notes, claim, "end")
        # Refused is what was canceled meanwhile.
        with contextlib.suppress(JQueueError):
            if how == "finish":
                claim.finish("claimed")
            elif how == "release":
                claim.release()
        claim._close()
        claimant.close()

    # What must be true

    def finish(self):
        """Let it blow over, and check that nothing was lost or doubled."""
        client, machine = self.client, self.machine
        for pid in list(self.stopped):
            self.go_on(pid)
        while self.held:
            self.end_claim(*self.held.pop())
        while (claim := client.claim(["OP_CLAIMED"], timeout_s=1.5)) is not None:
            write(machine.notes, claim, "begin")
            write(machine.notes, claim, "end")
            claim.finish("claimed")
        while left := [job.id for job in client.jobs() if not job.finalized]:
            for job in left:
                client.wait(job, 60)
        jobs = {job.id: job for job in client.jobs()}
        assert self.roots.keys() <= jobs.keys()
        assert sorted(jobs) == list(range(1, len(jobs) + 1))
        self.check_evidence(jobs)
        self.check_children(jobs)
        pids = self.workers()
        assert machine.terminate() == 0
        for pid in pids:
            until(lambda pid=pid: [1] if is_gone(pid) else [])
        return jobs

    def check_evidence(self, jobs):
        """Nothing ran twice at once, nothing after its end, and what succeeded did run."""
        lines = self.machine.written()
        assert [line for line in lines if line[3] == "OVERLAP"] == []
        runs = defaultdict(list)
        for name, op, attempt, what, pid, at in lines:
            runs[name, int(op)].append((what, int(pid), int(at), int(attempt)))
        for job in jobs.values():
            name = self.roots.get(job.id, str(job.id))
            ended_before = 0
            for op in job.ops:
                ran = runs.get((name, op.index), [])
                begins = [at for what, _, at, _ in ran if what == "begin"]
                if op.status == "success":
                    assert ran, f"job {job.id}, opcode {op.index} succeeded without running"
                    # What wrote last is the whole of the attempt that counts.
                    begin, end = sorted(ran, key=lambda one: one[2])[-2:]
                    assert (begin[0], end[0]) == ("begin", "end"), (job.id, op.index, ran)
                    assert begin[1] == end[1], (job.id, op.index, ran)
                    if name == str(job.id):
                        assert begin[3] == end[3] == op.attempts, (job.id, op.index, ran)
                    ended = op.ended.timestamp() * 1e9 + 1000
                    late = [at for at in begins if at > ended]
                    assert late == [], f"job {job.id}, opcode {op.index} ran after its end"
                assert min(begins, default=ended_before) >= ended_before, f"job {job.id}: order"
                ended_before = 0 if op.ended is None else op.ended.timestamp() * 1e9 - 1000
            if job.status == "canceled":
                assert job.id in self.canceled, f"nobody canceled job {job.id}"
            elif job.status == "error":
                # Only what was interrupted more often than it may.
                assert "interrupted" in str([op.result for op in job.ops])
            else:
                assert job.status == "success", job.to_dict()

    def check_children(self, jobs):
        """Each child stands in the result of its parent, once; nothing else was submitted."""
        by_parent = defaultdict(list)
        for job in jobs.values():
            if job.submitter is None:
                assert job.id in self.roots
            else:
                by_parent[job.submitter["job"], job.submitter["op"]].append(job.id)
        for job in jobs.values():
            for op in job.ops:
                children = by_parent.pop((job.id, op.index), [])
                early = op.input.get("children", 0) and EARLY
                if op.status != "success":
                    assert len(children) in (0, EARLY // 2, early)
                elif op.op_id == "OP_ALONE":
                    named = [*op.result["early"], *(value for _, value in op.result["jobs"])]
                    assert sorted(named) == children
                    assert len(children) == early + op.input.get("children", 0)
        assert by_parent == {}


def write(path, claim, word):
    line = f"{claim.job.id} {claim.op.index} {claim.attempt} {word} 0 {time.time_ns()}\n"
    with open(path, "a") as file:
        file.write(line)


def is_worker(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"jqueue.execution.worker" in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
