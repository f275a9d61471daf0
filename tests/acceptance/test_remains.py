"""A dead worker is missed at once; its processes end first, then what it held is free."""

import os
import signal
import time

from tests.acceptance.conftest import is_gone, until

LIMIT = [["test", "rate-limit:1:disk", 1]]
OUTLIVES = """
[ -e {pid} ] && exit 0
trap '' TERM
echo $$ >{pid}.new; mv {pid}.new {pid}
while :; do sleep 0.05; done
"""
WITNESS = "case $(cut -d' ' -f3 /proc/$(cat {pid})/stat 2>&1) in [RSDT]) exit 9;; esac"


def first_line(path):
    return until(lambda: path.read_text().split() if path.exists() else [])[0]


def interruptions(job):
    return [entry for entry in job.ops[0].log if entry[2] == "interrupted"]


def test_a_command_that_outlives_its_worker_ends_before_what_it_held_is_free(machine, tmp_path):
    client = machine.start(workers=2).client
    pid = tmp_path / "pid"
    held = {"OP_ID": "OP_EXEC", "reason": LIMIT}
    job = client.submit([{**held, "argv": ["sh", "-c", OUTLIVES.format(pid=pid)]}])
    command = int(first_line(pid))
    # Whoever gets the place next looks whether the one before is still there.
    witness = {**held, "argv": ["sh", "-c", WITNESS.format(pid=pid)]}
    other = client.submit([witness])
    until(lambda: [1] if client.job(other).status == "waiting" else [])
    os.kill(int(client.job(job).to_dict()["process_id"]), signal.SIGKILL)
    assert {client.wait(each, 30).status for each in (job, other)} == {"success"}
    assert is_gone(command)
    assert client.job(job).ops[0].interruptions == 1


def test_locks_stay_held_while_a_process_outside_the_session_holds_the_livelock(machine, tmp_path):
    client = machine.start(workers=2).client
    pid = tmp_path / "pid"
    escapes = f"[ -e {pid} ] || setsid sh -c 'echo $$ >{pid}; sleep 600'"
    held = {"OP_ID": "OP_EXEC", "reason": LIMIT}
    job = client.submit([{**held, "argv": ["sh", "-c", escapes]}])
    outside = int(first_line(pid))
    other = client.submit([{**held, "argv": ["true"]}])
    os.kill(int(client.job(job).to_dict()["process_id"]), signal.SIGKILL)
    awaited = "outside its session"
    told = until(lambda: [one for one in client.explain(job) if awaited in one.get("until", "")])
    assert "stay held" in told[0]["text"]
    # The daemon has its workers again, and yet the place is taken.
    assert client.wait(client.submit([machine.note()]), 30).status == "success"
    assert [client.job(each).status for each in (job, other)] == ["running", "waiting"]
    assert not is_gone(outside)
    os.killpg(os.getsid(outside), signal.SIGKILL)
    assert {client.wait(each, 30).status for each in (job, other)} == {"success"}


def test_the_death_of_a_worker_is_noticed_at_once(machine):
    """The bound is generous; `make bench` measures it."""
    client = machine.start(workers=1).client
    job = client.submit([machine.gated()])
    took_s = []
    for turn in range(1, 4):
        worker = int(machine.until_written("begin", turn)[-1][4])
        began = time.time()
        os.kill(worker, signal.SIGKILL)
        entries = until(lambda turn=turn: interruptions(client.job(job)), turn)
        seconds, micros = entries[-1][1]
        took_s.append(seconds + micros / 1e6 - began)
    assert sorted(took_s)[1] < 1.0, took_s
    machine.open_gate()
    assert client.wait(job, 30).status == "success"
