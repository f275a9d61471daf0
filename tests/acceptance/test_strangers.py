"""Records that name processes which are none of ours: nobody else's process is ever signaled."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from jqueue import JobQueue
from jqueue.queue.answer import ask
from jqueue.queue.operating import cancel
from jqueue.queue.running import start
from jqueue.store import livelock
from jqueue.store.processes import Identity
from tests.acceptance.conftest import Machine, is_gone, until


@pytest.fixture
def stranger():
    """A process that leads its own session, as a worker does, and ends if SIGTERM comes."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, start_new_session=True)
    yield process
    process.stdin.close()
    process.wait()


def record_start(machine, worker, *, kill=False):
    """Leave a queue whose only job is recorded as started by this worker, its livelock free."""
    with JobQueue.open(machine.queue) as queue:
        job = queue.submit([machine.note(), machine.note()])
        queue_fd = os.open(machine.queue, os.O_RDONLY)
        held = livelock.take(queue_fd, "worker")
        place = livelock.place_of(queue_fd, held.name)
        worker = {**worker.to_dict(), **place._asdict()}
        ask(queue.store, start(job, 0, now=1, livelock=held.name, worker=worker))
        if kill:
            ask(queue.store, cancel(job, now=2, kill=True))
        os.close(held.fd)
        os.close(queue_fd)
    return job


@pytest.mark.parametrize(
    ("other", "kill"), [({"start_time": 1}, True), ({"boot_id": "0" * 36}, False)]
)
def test_a_process_of_the_same_pid_but_another_start_or_boot_is_not_signaled(
    machine, stranger, other, kill
):
    identity = Identity.of(stranger.pid)._replace(**other)
    job = record_start(machine, identity, kill=kill)
    machine.start(workers=1)
    done = machine.client.wait(job, 30)
    if kill:
        assert [op.status for op in done.ops] == ["canceled", "canceled"]
        assert machine.written() == []
    else:
        # A reboot, too, is no interruption that counts.
        assert (done.status, done.ops[0].attempts, done.ops[0].interruptions) == ("success", 1, 0)
    assert stranger.poll() is None


def test_the_daemon_of_a_copied_directory_leaves_the_originals_workers_alone(machine, tmp_path):
    client = machine.start(workers=2).client
    running = client.submit([machine.gated(children=1), machine.note()])
    killed = client.submit([machine.gated("OP_STUBBORN")])
    pids = [int(line[4]) for line in machine.until_written("begin", 2)]
    # A copy is of one moment; the original goes on afterwards, and is about to kill one itself.
    machine.daemon.send_signal(signal.SIGSTOP)
    copy = Machine(tmp_path / "elsewhere")
    copy.queue.parent.mkdir()
    shutil.copytree(machine.queue, copy.queue, ignore=shutil.ignore_patterns("socket"))
    assert copy.client.cancel(killed, kill=True)
    try:
        copy.start(workers=1, silence_s=0.2)
        assert copy.client.wait(killed, 30).status == "canceled"
        # What the copy recovers it carries out itself.
        until(lambda: [1] if copy.client.job(running).ops[0].attempts == 1 else [])
        machine.until_written("begin", 3)
        assert [pid for pid in pids if is_gone(pid)] == []
        machine.daemon.send_signal(signal.SIGCONT)
        assert client.job(killed).status == "running"
        machine.open_gate()
        for queue in (client, copy.client):
            done = queue.wait(running, 30)
            assert (done.status, done.ops[0].attempts) == ("success", 1)
            assert queue.wait(done.ops[0].result["jobs"][0][1], 30).status == "success"
        assert client.wait(killed, 30).status == "success"
        assert copy.terminate() == 0
    finally:
        copy.close()
