"""The real daemon: jobs run, and what is killed loses and doubles nothing (P1, P2, P4, P5, P6)."""

import errno
import os
import shutil
import signal
import stat

import pytest

from jqueue import JobQueue, JobStatus, QueueDrained, WaitTimeout, connect
from tests.acceptance.conftest import is_gone, until


def test_a_job_runs_opcode_by_opcode(machine):
    client = machine.start().client
    job = client.wait(client.submit([machine.note(), machine.note()]), 30)
    assert job.status is JobStatus.SUCCESS
    assert [op.result for op in job.ops] == ["done", "done"]
    assert [entry[0] for op in job.ops for entry in op.log] == [1, 2]
    assert [op.attempts for op in job.ops] == [1, 1]


def test_exec_logs_its_output_and_fails_with_its_exit_status(machine):
    client = machine.start().client
    good = client.submit([{"OP_ID": "OP_EXEC", "argv": ["sh", "-c", "echo out; echo err >&2"]}])
    bad = client.submit([{"OP_ID": "OP_EXEC", "argv": ["sh", "-c", "exit 3"]}, machine.note()])
    killed = client.submit([{"OP_ID": "OP_EXEC", "argv": ["sh", "-c", "kill -9 $$"]}])
    missing = client.submit([{"OP_ID": "OP_EXEC", "argv": ["/no/such/program"]}])
    job = client.wait(good, 30)
    assert job.ops[0].result == {"exit": 0}
    assert sorted(entry[3] for entry in job.ops[0].log) == ["err", "out"]
    job = client.wait(bad, 30)
    assert [op.status for op in job.ops] == ["error", "error"]
    assert "status 3" in job.ops[0].result[1][0]
    assert job.ops[1].result == ["OpExecError", ["Preceding opcode failed"]]
    assert "signal 9" in client.wait(killed, 30).ops[0].result[1][0]
    assert "can't be run" in client.wait(missing, 30).ops[0].result[1][0]


def test_children_are_one_transaction_with_the_result(machine):
    client = machine.start().client
    job = client.wait(client.submit([machine.note(children=3)]), 30)
    result = job.ops[0].result
    assert result == {"jobs": [[True, 2], [True, 3], [True, 4]], "note": "with children"}
    for child in (2, 3, 4):
        done = client.wait(child, 30)
        assert done.status == "success"
        assert done.submitter == {"job": 1, "op": 0}
        assert done.ops[0].input["comment"] == "Submitted by OP_NOTE"


def test_daemon_killed_in_mid_flight_loses_and_doubles_nothing(machine):
    client = machine.start().client
    for _ in range(2):
        client.submit([machine.gated(children=2, submit=1, talks=5), machine.note()])
    for _ in range(6):
        client.submit([machine.note(children=2, submit=1), machine.note()])
    machine.until_written("begin", 2)
    for _ in range(3):
        machine.kill()
        machine.start()
        client.status()
    machine.open_gate()
    jobs = [client.wait(job, 30) for job in range(1, 33)]
    assert {job.status for job in jobs} == {"success"}
    assert client.count() == 32
    counted = machine.begun_and_ended()
    assert set(counted.values()) == {1}
    assert len(counted) == 2 * (16 + 24)
    talked = [entry[3] for entry in jobs[0].ops[0].log if entry[2] == "message"]
    assert talked == [f"line {turn}" for turn in range(5)]


def test_a_result_found_while_no_daemon_ran_arrives_once(machine):
    client = machine.start(workers=1).client
    client.submit([machine.gated(children=1)])
    machine.until_written("begin")
    machine.kill()
    machine.open_gate()
    machine.until_written("end")
    machine.start(workers=1)
    assert client.wait(1, 30).status == "success"
    assert client.wait(2, 30).status == "success"
    assert set(machine.begun_and_ended().values()) == {1}


def test_killed_worker_is_noticed_and_its_opcode_runs_again(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    os.kill(int(begun[4]), signal.SIGKILL)
    machine.until_written("begin", 2)
    machine.open_gate()
    done = client.wait(job, 30)
    assert done.status == "success"
    assert (done.ops[0].attempts, done.ops[0].interruptions) == (2, 1)
    assert [entry[2] for entry in done.ops[0].log] == ["message", "interrupted", "message"]


def test_whatever_a_killed_worker_started_is_killed_before_its_opcode_is_judged(machine):
    client = machine.start().client
    job = client.submit([machine.gated("OP_PARENT")])
    [first] = machine.until_written("child")
    worker = int(client.job(job).to_dict()["process_id"])
    os.kill(worker, signal.SIGKILL)
    machine.until_written("child", 2)
    assert is_gone(int(first[4]))
    machine.open_gate()
    assert client.wait(job, 30).status == "success"


def test_an_opcode_that_kills_its_worker_each_time_fails_at_its_limit(machine):
    client = machine.start().client
    job = client.wait(client.submit([{"OP_ID": "OP_SUICIDE", "path": str(machine.notes)}]), 60)
    assert job.status == "error"
    assert len(machine.written()) == 4
    assert job.ops[0].interruptions == 4
    assert "interrupted 4 times" in job.ops[0].result[1][0]


def test_interruption_fails_or_sets_aside_by_the_recorded_policy(machine):
    client = machine.start().client
    fails = client.submit([machine.gated("OP_FRAGILE")])
    aside = client.submit([machine.gated("OP_CAREFUL")])
    for line in machine.until_written("begin", 2):
        os.kill(int(line[4]), signal.SIGKILL)
    assert client.wait(fails, 30).status == "error"
    until(lambda: [op for op in client.job(aside).ops if op.parked])
    assert client.job(aside).status == "waiting"
    assert "resolve" in client.explain(aside)[0]["text"]
    assert client.resolve(aside, happened=True)
    assert client.wait(aside, 30).status == "success"
    assert len(machine.written()) == 2


def test_worker_and_daemon_killed_together_interrupt_uncounted(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    machine.kill()
    os.kill(int(begun[4]), signal.SIGKILL)
    machine.start()
    machine.until_written("begin", 2)
    machine.open_gate()
    done = client.wait(job, 30)
    assert done.status == "success"
    assert done.ops[0].interruptions == 0


def test_silent_worker_is_killed_and_its_opcode_runs_again(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    machine.kill()
    os.kill(int(begun[4]), signal.SIGSTOP)
    machine.start(silence_s=0.5)
    machine.until_written("begin", 2)
    assert is_gone(int(begun[4]))
    machine.open_gate()
    assert client.wait(job, 30).status == "success"


def test_drain_survives_a_kill_and_a_restart(machine):
    client = machine.start().client
    client.drain("moving house")
    machine.kill()
    machine.start()
    with pytest.raises(QueueDrained, match="moving house"):
        client.submit([machine.note()])
    assert client.drain_state()["reason"] == "moving house"
    client.undrain()
    assert client.wait(client.submit([machine.note()]), 30).status == "success"


def test_children_of_a_drained_queue_are_refused_and_the_parent_goes_on(machine):
    client = machine.start().client
    client.submit([machine.gated(children=1)])
    machine.until_written("begin")
    client.drain()
    machine.open_gate()
    result = client.wait(1, 30).ops[0].result
    assert result["jobs"][0][0] is False
    assert client.count() == 1


def test_pause_starts_nothing_and_lets_running_go_on(machine):
    client = machine.start().client
    running = client.submit([machine.gated(), machine.note()])
    machine.until_written("begin")
    client.pause("lunch")
    queued = client.submit([machine.note()])
    machine.open_gate()
    until(lambda: [op for op in client.job(running).ops if op.status == "success"])
    with pytest.raises(WaitTimeout):
        client.wait(queued, 0.2)
    assert client.explain(queued)[0]["reason"] == "paused"
    client.resume()
    assert client.wait(queued, 30).status == "success"
    assert client.wait(running, 30).status == "success"


def test_sigterm_waits_for_what_runs_and_starts_nothing_more(machine):
    client = machine.start().client
    job = client.submit([machine.gated(), machine.note()])
    machine.until_written("begin")
    machine.daemon.send_signal(signal.SIGTERM)
    until(lambda: [1] if client.status()["stopping"] else [])
    machine.open_gate()
    assert machine.daemon.wait(30) == 0
    assert not (machine.queue / "socket").exists()
    found = client.job(job)
    assert [op.status for op in found.ops] == ["success", "queued"]
    [begun] = [line for line in machine.written() if line[3] == "begin"]
    until(lambda: [1] if is_gone(int(begun[4])) else [])


def test_second_sigterm_leaves_what_runs_to_the_next_daemon(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    machine.until_written("begin")
    machine.daemon.send_signal(signal.SIGTERM)
    until(lambda: [1] if client.status()["stopping"] else [])
    assert machine.terminate() == 0
    assert client.job(job).status == "running"
    machine.start()
    machine.open_gate()
    assert client.wait(job, 30).status == "success"
    assert set(machine.begun_and_ended().values()) == {1}


def test_sigint_ends_the_workers_and_requeues_uncounted(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    machine.daemon.send_signal(signal.SIGINT)
    assert machine.daemon.wait(30) == 0
    assert is_gone(int(begun[4]))
    op = client.job(job).ops[0]
    assert (op.status, op.attempts, op.interruptions) == ("queued", 0, 0)


def test_running_job_is_canceled_by_kill_only(machine):
    client = machine.start().client
    job = client.submit([machine.gated(), machine.note()])
    machine.until_written("begin")
    assert not client.cancel(job)
    assert client.cancel(job, kill=True)
    done = client.wait(job, 30)
    assert [op.status for op in done.ops] == ["canceled", "canceled"]
    assert machine.until_written("canceled")


def test_kill_goes_on_over_a_restart_of_the_daemon(machine):
    client = machine.start().client
    job = client.submit([machine.gated("OP_PARENT")])
    [child] = machine.until_written("child")
    machine.kill()
    # Without an owner the client opens the queue itself, for this one verb.
    assert client.cancel(job, kill=True)
    assert client.job(job).status == "canceling"
    machine.start()
    assert client.wait(job, 30).status == "canceled"
    assert is_gone(int(child[4]))


def test_timeout_ends_the_whole_session_and_fails_the_opcode(machine):
    client = machine.start().client
    job = client.wait(client.submit([{"OP_ID": "OP_SLOW"}]), 30)
    assert job.status == "error"
    assert "exceeded its time of 0.3 s" in job.ops[0].result[1][0]


def test_failed_attempt_is_repeated_as_often_as_it_may(machine):
    client = machine.start().client
    job = client.wait(client.submit([machine.note(fails=1, retries=1)]), 30)
    assert job.status == "success"
    assert job.ops[0].attempts == 2


def test_exclusive_locks_are_never_held_twice(machine):
    client = machine.start(workers=3).client
    op = {"OP_ID": "OP_EXCLUSIVE", "path": str(machine.notes), "name": "disk"}
    for _ in range(8):
        client.submit([op])
    for job in range(1, 9):
        assert client.wait(job, 30).status == "success"
    words = [line[3] for line in machine.written()]
    assert words == ["begin", "end"] * 8
    assert [int(line[0]) for line in machine.written()[::2]] == list(range(1, 9))


def test_job_that_waits_for_a_lock_is_waiting_and_says_who_has_it(machine):
    client = machine.start(workers=2).client
    first = client.submit([machine.gated("OP_LOCKED")])
    machine.until_written("begin")
    second = client.submit([machine.gated("OP_LOCKED")])
    until(lambda: [1] if client.job(second).status == "waiting" else [])
    [reason] = client.explain(second)
    assert (reason["reason"], reason["jobs"]) == ("locks", [first])
    assert "node1" in reason["text"]
    assert f"job {first}" in reason["text"]
    third = client.submit([machine.gated("OP_LOCKED")])
    until(lambda: [1] if client.job(third).status == "waiting" else [])
    assert client.cancel(second)
    assert client.job(second).status == "canceled"
    machine.kill()
    machine.start()
    machine.open_gate()
    assert client.wait(third, 30).status == "success"
    assert [line[3] for line in machine.written()] == ["begin", "end"] * 2


def test_dependencies_are_woken_by_the_end_of_their_target(machine):
    client = machine.start().client
    first = client.submit([machine.gated()])
    second = client.submit([machine.note(depends=[[first, []]])])
    unmet = client.submit([machine.note(depends=[[first, ["error"]]])])
    machine.until_written("begin")
    assert client.explain(second)[0]["reason"] == "dependency"
    machine.open_gate()
    assert client.wait(second, 30).status == "success"
    assert client.wait(unmet, 30).status == "error"


def test_not_before_waits_for_its_time(machine):
    client = machine.start().client
    begin = client.wait(client.submit([machine.note()]), 30).ended.timestamp()
    job = client.wait(client.submit([machine.note(not_before=begin + 0.5)]), 30)
    assert job.ops[0].executed.timestamp() >= begin + 0.5


def test_unknown_kind_stays_queued_and_says_why(machine):
    client = machine.start().client
    job = client.submit([{"OP_ID": "OP_NOBODY_KNOWS"}])
    assert client.wait(client.submit([machine.note()]), 30).status == "success"
    assert client.job(job).status == "queued"
    assert client.explain(job)[0]["reason"] == "kind"


def test_more_urgent_jobs_go_first(machine):
    client = machine.start(workers=1).client
    blocker = client.submit([machine.gated()])
    machine.until_written("begin")
    low = client.submit([machine.note(priority=10)])
    normal = client.submit([machine.note()])
    high = client.submit([machine.note(priority=-10)])
    machine.open_gate()
    for job in (blocker, low, normal, high):
        client.wait(job, 30)
    order = [int(line[0]) for line in machine.written() if line[3] == "begin"]
    assert order == [blocker, high, normal, low]


def test_the_socket_is_private_and_its_path_may_be_long(machine, tmp_path):
    machine.queue = tmp_path / ("x" * 120) / "queue"
    machine.queue.parent.mkdir()
    machine.client = connect(machine.queue, timeout_s=30)
    machine.start()
    assert machine.client.wait(machine.client.submit([machine.note()]), 30).status == "success"
    assert stat.S_IMODE((machine.queue / "socket").stat().st_mode) == 0o600


def test_client_without_owner_opens_reads_and_writes_alone(machine):
    client = machine.client
    job = client.submit([machine.note()])
    assert client.job(job).status == "queued"
    assert [found.id for found in client.jobs()] == [job]
    assert client.count() == 1
    assert client.status()["pid"] is None
    assert not client.has_owner
    with pytest.raises(WaitTimeout):
        client.wait(job, 0.05)
    machine.start()
    assert client.wait(job, 30).status == "success"


def test_starting_daemon_waits_for_who_owns_the_queue_for_a_moment(machine):
    with JobQueue.open(machine.queue) as queue:
        queue.submit([machine.note()])
        machine.start()
    assert machine.client.wait(1, 30).status == "success"


def remove(queue):
    """Remove it; again, where a worker that has just begun still made its livelock meanwhile."""
    try:
        shutil.rmtree(queue)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return []
    return [queue]


def test_workers_of_a_removed_queue_end(machine):
    client = machine.start().client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    assert client.job(job).status == "running"
    machine.kill()
    until(lambda: remove(machine.queue))
    machine.open_gate()
    until(lambda: [1] if is_gone(int(begun[4])) else [])
