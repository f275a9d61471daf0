"""Workers that are stopped (SIGSTOP): only a lost connection lets one be condemned for silence."""

import os
import signal

import pytest

from tests.acceptance.conftest import is_gone, until


def waste(machine, seconds):
    """Let so much of the daemon's own time go by: it runs a job that takes as long."""
    delay = {"OP_ID": "OP_TEST_DELAY", "duration": seconds}
    assert machine.client.wait(machine.client.submit([delay]), 30).status == "success"


def test_a_connected_worker_may_be_stopped_for_longer_than_the_silence(machine):
    client = machine.start(silence_s=0.2).client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    os.kill(int(begun[4]), signal.SIGSTOP)
    waste(machine, 0.6)
    assert client.job(job).status == "running"
    os.kill(int(begun[4]), signal.SIGCONT)
    machine.open_gate()
    done = client.wait(job, 30)
    assert (done.status, done.ops[0].attempts, done.ops[0].interruptions) == ("success", 1, 0)


def test_a_stopped_worker_is_ended_by_a_kill_for_which_wait_and_watch_wait(machine, shell):
    client = machine.start(workers=1).client
    job = client.submit([machine.gated(), machine.note()])
    [begun] = machine.until_written("begin")
    os.kill(int(begun[4]), signal.SIGSTOP)
    watch, wait = shell.begin("watch", job), shell.begin("wait", job)
    until(lambda: [1] if watch.stdout.readline() else [])
    assert client.cancel(job, kill=True)
    assert client.wait(job, 30).status == "canceled"
    assert (watch.wait(30), wait.wait(30)) == (1, 1)
    assert is_gone(int(begun[4]))
    assert client.count(statuses=["canceling"]) == 0


def test_a_stopped_worker_without_connection_is_replaced_and_never_doubles(machine):
    client = machine.start(workers=1).client
    job = client.submit([machine.gated(children=1)])
    [begun] = machine.until_written("begin")
    machine.kill()
    os.kill(int(begun[4]), signal.SIGSTOP)
    machine.start(workers=1, silence_s=0.3)
    machine.until_written("begin", 2)
    # It was killed before its opcode began anew: there is nobody left to be continued.
    assert is_gone(int(begun[4]))
    machine.open_gate()
    done = client.wait(job, 30)
    assert (done.status, done.ops[0].attempts, done.ops[0].interruptions) == ("success", 2, 1)
    assert len(machine.until_written("end", 2)) == 2
    assert client.count() == 2


@pytest.mark.slow
def test_a_stopped_worker_that_goes_on_in_time_is_adopted(machine):
    client = machine.start(workers=1).client
    job = client.submit([machine.gated(children=1)])
    [begun] = machine.until_written("begin")
    machine.kill()
    os.kill(int(begun[4]), signal.SIGSTOP)
    machine.start(workers=1)
    assert client.job(job).status == "running"
    os.kill(int(begun[4]), signal.SIGCONT)
    machine.open_gate()
    assert client.wait(job, 30).ops[0].attempts == 1
    assert client.wait(2, 30).status == "success"
    assert set(machine.begun_and_ended().values()) == {1}
