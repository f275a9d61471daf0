"""Storms of kill -9 over daemon and workers: nothing is lost, nothing doubled (P1, P2, P4, P6)."""

import os
import random
import signal

import pytest

JOBS = 12
CHILDREN = 2


def storm(machine, rounds, seed):
    """Kill now the daemon, now a worker, until all is done; each job has four children."""
    chance = random.Random(seed)
    machine.start(workers=3)
    client = machine.client
    op = {"OP_ID": "OP_ALONE", "path": str(machine.notes), "takes_s": 0.01}
    total = 0
    for turn in range(rounds):
        ops = [{**op, "children": CHILDREN}, op]
        total += len([client.submit(ops, key=f"{seed}-{turn}-{job}") for job in range(JOBS)])
        seen = len(machine.written())
        machine.until_written("begin", 1)
        while len(machine.written()) < seen + chance.randrange(1, 3 * JOBS):
            os.sched_yield()
        if chance.random() < 0.5:
            machine.kill()
            if chance.random() < 0.3:
                kill_a_worker(machine, chance)
            machine.start(workers=3)
        else:
            kill_a_worker(machine, chance)
    expected = total * (1 + 2 + CHILDREN)
    for job in range(1, expected + 1):
        assert client.wait(job, 60).status in ("success", "error"), job
    assert client.count() == expected
    lines = machine.written()
    assert [line for line in lines if line[3] == "OVERLAP"] == []
    for job in client.jobs():
        # Only what was interrupted more often than it may is an error; the chance is small.
        if job.status == "error":
            assert "interrupted" in str([op.result for op in job.ops])
    executed = {(line[0], line[1]) for line in lines if line[3] == "end"}
    assert len(executed) >= sum(op.status == "success" for job in client.jobs() for op in job.ops)
    assert machine.terminate() == 0


def kill_a_worker(machine, chance):
    pids = {int(line[4]) for line in machine.written()[-40:] if line[3] == "begin"}
    pids = [pid for pid in sorted(pids) if is_worker(pid)]
    if pids:
        os.kill(chance.choice(pids), signal.SIGKILL)


def is_worker(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"jqueue.execution.worker" in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_short_storm_loses_and_doubles_nothing(machine):
    storm(machine, 8, seed=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_a_long_storm_loses_and_doubles_nothing(machine, seed):
    storm(machine, 60, seed)
