"""`recover`, with and without --plan, on what claimants and dead processes left."""

import os

import pytest

from jqueue import JobQueue
from jqueue.queue.running import start, wait_for_locks
from jqueue.store import livelock
from jqueue.store.processes import myself


@pytest.fixture
def left(shell):
    """Makes a queue whose jobs were begun by an owner of which nothing is left."""

    def make(*policies, **worker):
        with JobQueue.open(shell.queue) as queue:
            for policy in policies:
                job = queue.submit([{"OP_ID": "OP_X"}, {"OP_ID": "OP_X"}])
                record = {**myself().to_dict(), "start_time": 1, "inode": 1, **worker}
                queue.ask(start(job, 0, now=1, livelock=name(), worker=record, policy=policy))

    return make


def name():
    return f"worker-{os.getpid()}-{os.urandom(12).hex()}"


def fates(rows):
    return [(row["job"], row["fate"], row["after"]) for row in rows]


def test_plan_and_recovery_agree_on_what_a_dead_process_left(shell, left):
    left("requeue", "fail", "unknown", "requeue")
    shell("cancel", "--kill", 4)
    shell.submit()
    expected = [
        (1, "judge", "queued"),
        (2, "judge", "error"),
        (3, "judge", "waiting"),
        (4, "judge", "canceled"),
    ]
    before = shell.json("list")
    assert fates(shell.json("recover", "--plan")) == expected
    assert shell.json("list") == before
    assert fates(shell.json("recover")) == expected
    after = [job["status"] for job in shell.json("list")]
    assert after == ["queued", "error", "waiting", "canceled", "queued"]
    assert shell.json("info", 1)["ops"][0].get("interruptions", 0) == 0


def test_what_was_set_aside_stays_so_and_can_be_resolved(shell, left):
    left("unknown")
    shell("recover")
    for more in (["--plan"], []):
        [row] = shell.json("recover", *more)
        assert (row["fate"], row["after"]) == ("leave", "waiting")
    assert "jqueue resolve" in shell("recover").stdout
    shell("resolve", 1, "--did-not")
    assert shell("recover").stdout == ""


def test_a_recovered_queue_has_nothing_to_recover(shell, left):
    left("requeue")
    assert "it is queued again" in shell("recover", "--plan").stdout
    assert "it is queued again" in shell("recover").stdout
    assert "nothing to recover" in shell("recover").stderr
    assert shell.json("recover", "--plan") == []


def test_what_waited_for_locks_is_queued_again(shell):
    with JobQueue.open(shell.queue) as queue:
        queue.submit([{"OP_ID": "OP_X"}])
        queue.ask(wait_for_locks(1, 0, now=1))
    assert fates(shell.json("recover", "--plan")) == [(1, "requeue", "queued")]
    assert fates(shell.json("recover")) == [(1, "requeue", "queued")]


def test_a_living_claimant_goes_on(shell):
    shell("submit", "--op", '{"OP_ID": "OP_X"}')
    queue_fd = os.open(shell.queue, os.O_RDONLY)
    held = livelock.take(queue_fd, "claim")
    try:
        with JobQueue.open(shell.queue) as queue:
            queue.ask(start(1, 0, now=1, livelock=held.name))
        assert fates(shell.json("recover", "--plan")) == [(1, "wait", "running")]
    finally:
        livelock.release(queue_fd, held)
        os.close(queue_fd)
    assert fates(shell.json("recover")) == [(1, "judge", "queued")]


def test_recover_beside_an_owner_is_refused_and_a_plan_says_so(shell, monkeypatch):
    monkeypatch.setattr("jqueue.cli.target.TIMEOUT_S", 0.0)
    with JobQueue.open(shell.queue):
        assert "owner" in shell("recover", "--plan").stderr
        result = shell("recover", code=1)
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_ended_in_time_is_left_and_said(shell, left, monkeypatch):
    monkeypatch.setattr("jqueue.cli.recovering.LIMIT_S", 0.1)
    shell.submit()
    queue_fd = os.open(shell.queue, os.O_RDONLY)
    held = livelock.take(queue_fd, "worker")
    try:
        with JobQueue.open(shell.queue) as queue:
            record = {**myself().to_dict(), "start_time": 1, "inode": held.inode}
            queue.ask(start(1, 0, now=1, livelock=held.name, worker=record))
        [row] = shell.json("recover", code=1)
        assert (row["fate"], row["after"], row["over"]) == ("bury", "running", False)
        assert "not over yet" in shell("recover", code=1).stdout
    finally:
        livelock.release(queue_fd, held)
        os.close(queue_fd)
    assert fates(shell.json("recover")) == [(1, "judge", "queued")]
