"""What users of other queues complain about, as far as no other test would have caught it."""

import json
import os
import signal
import time

import pytest

from jqueue import JobQueue
from jqueue.store.lock import OWNER


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_descriptors_and_what_opening_reads_do_not_grow_with_the_open_jobs(tmp_path):
    found = []
    for jobs in (1, 500):
        path = tmp_path / str(jobs)
        with JobQueue.open(path, durability="process") as queue:
            queue.submit_many([[{"OP_ID": "OP_TEST_DELAY", "duration": 0}]] * jobs)
        with JobQueue.open(path, durability="process") as queue:
            opened = descriptors()
            listing = queue.jobs()
            next(listing)
            found.append((opened, descriptors() - opened))
            assert queue.count() == jobs
            listing.close()
    assert found[0] == found[1]


def test_an_idle_daemon_starts_what_is_submitted_at_once_each_time(machine):
    client = machine.start(workers=1).client
    client.wait(client.submit([machine.note()]), 30)
    took_s = []
    for _ in range(15):
        began = time.time()
        job = client.wait(client.submit([machine.note()]), 30)
        took_s.append(job.ops[0].executed.timestamp() - began)
    # Whoever polls as a fallback misses now and then: none may be late.
    assert max(took_s) < 5.0
    assert sorted(took_s)[len(took_s) // 2] < 0.5


@pytest.mark.slow
def test_a_note_of_the_owner_that_names_a_living_process_keeps_no_daemon_out(machine):
    client = machine.start(workers=1).client
    client.wait(client.submit([machine.note()]), 30)
    machine.kill()
    note = machine.queue / OWNER
    note.write_text(json.dumps({**json.loads(note.read_text()), "pid": os.getpid()}))
    machine.start(workers=1)
    assert client.wait(client.submit([machine.note()]), 30).status == "success"


def test_limits_and_unique_names_are_those_of_the_living_after_any_crash(machine):
    client = machine.start(workers=2).client
    first = client.submit([machine.gated("OP_SINGLE")], unique="nightly")
    second = client.submit([machine.gated("OP_SINGLE")])
    [begun] = machine.until_written("begin")
    machine.kill()
    os.kill(int(begun[4]), signal.SIGKILL)
    machine.start(workers=2)
    assert client.submit([machine.note()], unique="nightly") == first
    machine.until_written("begin", 2)
    assert client.explain(second)[0]["reason"] == "limit"
    machine.open_gate()
    assert {client.wait(job, 30).status for job in (first, second)} == {"success"}
    assert client.submit([machine.note()], unique="nightly") not in (first, second)
