"""The gaps between a record and its message: a daemon that dies there is made good by the next."""

import os
from pathlib import Path

import pytest

from jqueue import JobQueue
from jqueue.store import livelock
from tests.acceptance.conftest import is_gone, until

WORKER_V1 = str(Path(__file__).with_name("worker_v1.py"))


def test_a_start_that_was_never_delivered_is_given_back_uncounted_and_runs_once(machine):
    client = machine.start(workers=1, seam={"dies_sending": "start"}).client
    job = client.submit([machine.note()])
    machine.until_dead()
    assert client.job(job).status == "running"
    assert machine.written() == []
    machine.start(workers=1)
    done = client.wait(job, 30)
    assert (done.status, done.ops[0].attempts, done.ops[0].interruptions) == ("success", 1, 0)
    assert [line[3] for line in machine.written()] == ["begin", "end"]


@pytest.mark.parametrize("paused", [True, False], ids=["alone", "with the next start"])
def test_a_finish_whose_answer_was_lost_changes_nothing_more_under_the_next_daemon(machine, paused):
    client = machine.start(workers=1, seam={"dies_sending": "ok"}).client
    job = client.submit([machine.gated(children=2, submit=1), machine.gated()])
    [begun] = machine.until_written("begin")
    if paused:
        client.pause()
    machine.open_gate()
    machine.until_dead()
    assert [op.status for op in client.job(job).ops] == ["success", "queued"]
    assert client.count() == 4
    machine.start(workers=1)
    # It says its finish again, is answered, and is needed no more.
    until(lambda: [1] if is_gone(int(begun[4])) else [])
    client.resume()
    jobs = [client.wait(each, 30) for each in range(1, 5)]
    assert {each.status for each in jobs} == {"success"}
    assert client.count() == 4
    assert set(machine.begun_and_ended().values()) == {1}


@pytest.mark.slow
def test_a_submission_whose_answer_was_lost_is_not_repeated(machine):
    client = machine.start(workers=1, seam={"dies_sending": "submitted"}).client
    client.submit([machine.note(submit=2)])
    machine.until_dead()
    assert client.count() == 3
    machine.start(workers=1)
    assert {client.wait(job, 30).status for job in (1, 2, 3)} == {"success"}
    assert client.count() == 3
    assert set(machine.begun_and_ended().values()) == {1}


@pytest.mark.parametrize("dies_before_sigterm", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_daemon_that_dies_in_mid_kill_leaves_the_kill_to_the_next(machine, dies_before_sigterm):
    seam = {"dies_sending": "cancel"} if dies_before_sigterm else None
    client = machine.start(kill_grace_s=60.0, seam=seam).client
    job = client.submit([machine.gated("OP_STUBBORN"), machine.note()])
    [begun] = machine.until_written("begin")
    assert client.cancel(job, kill=True)
    if dies_before_sigterm:
        machine.until_dead()
    else:
        machine.kill()
    assert client.job(job).status == "canceling"
    assert not is_gone(int(begun[4]))
    machine.start(kill_grace_s=0.2)
    done = client.wait(job, 30)
    assert [op.status for op in done.ops] == ["canceled", "canceled"]
    assert is_gone(int(begun[4]))
    assert [line[3] for line in machine.written()] == ["begin"]


def test_a_worker_of_version_1_is_adopted_by_every_later_daemon(machine):
    client = machine.start(workers=1, seam={"worker": WORKER_V1}).client
    job = client.submit([machine.gated(children=1, submit=1), machine.note()])
    [begun] = machine.until_written("begin")
    worker = int(begun[4])
    until(lambda: client.job(job).ops[0].log)
    machine.kill()
    machine.start(workers=1)
    assert client.job(job).status == "running"
    machine.open_gate()
    done = client.wait(job, 30)
    assert [op.status for op in done.ops] == ["success", "success"]
    assert done.ops[0].result == {"jobs": [[True, 3]], "early": [[True, 2]]}
    assert [entry[3] for entry in done.ops[0].log] == ["of version 1"]
    assert {client.wait(child, 30).status for child in (2, 3)} == {"success"}
    assert client.count() == 3
    assert set(machine.begun_and_ended().values()) == {1}
    assert machine.terminate() == 0
    until(lambda: [1] if is_gone(worker) else [])


@pytest.mark.slow
def test_a_worker_of_version_1_is_canceled_and_its_idle_one_is_told_to_end(machine):
    client = machine.start(workers=1, seam={"worker": WORKER_V1}).client
    job = client.submit([machine.gated()])
    machine.until_written("begin")
    assert client.cancel(job, kill=True)
    assert client.wait(job, 30).status == "canceled"
    machine.until_written("canceled")
    # The next one waits idle, for an opcode that comes after the daemon was killed.
    until(lambda: [1] if client.status()["workers"] == 1 else [])
    directory = os.open(machine.queue, os.O_RDONLY)
    idle = livelock.holders(directory, "worker")
    os.close(directory)
    machine.kill()
    machine.start(workers=1)
    machine.open_gate()
    assert client.wait(client.submit([machine.note()]), 30).status == "success"
    assert int(machine.until_written("end")[-1][4]) not in idle
    assert machine.terminate() == 0
    for line in machine.written():
        if line[3] == "begin":
            until(lambda pid=int(line[4]): [1] if is_gone(pid) else [])


def test_an_owner_that_only_listens_leaves_workers_to_the_next_daemon(machine):
    client = machine.start(workers=1).client
    job = client.submit([machine.gated(children=1)])
    [begun] = machine.until_written("begin")
    machine.kill()
    with JobQueue.open(machine.queue, listen=True, lock_timeout_s=30) as queue:
        until(lambda: queue.owner.server.unheard)
        assert queue.job(job).status == "running"
        machine.open_gate()
        machine.until_written("end")
        assert not is_gone(int(begun[4]))
        assert client.job(job).status == "running"
    machine.start(workers=1)
    assert {client.wait(each, 30).status for each in (job, job + 1)} == {"success"}
    assert set(machine.begun_and_ended().values()) == {1}
