"""The command line as people and scripts use it: processes of its own beside a real daemon."""

import os
import signal
from pathlib import Path

import pytest

from jqueue.cli.waiting import NOBODY
from tests.acceptance.conftest import UNITS, is_gone, until


def test_submit_and_wait_gives_the_id_and_the_jobs_end_as_exit_code(machine, shell):
    machine.start()
    until(lambda: [1] if machine.client.has_owner else [])
    out, err = shell("submit", "--wait", "--", "echo", "hello")
    assert (out, err) == ("1\n", "")
    assert shell("log", 1)[0] == "hello\n"
    out, err = shell("submit", "--wait", "--", "false", code=1)
    assert (out, err) == ("2\n", "Job 2: error\n")


def test_submit_says_which_kind_is_unknown_and_what_is_near(machine, shell):
    machine.start()
    until(lambda: [1] if machine.client.has_owner else [])
    out, err = shell("submit", "--op", '{"OP_ID": "OP_NOTES"}')
    assert out == "1\n"
    assert "OP_NOTE?" in err


def test_submit_to_a_daemon_without_workers_says_so(machine, shell):
    machine.start(workers=0)
    until(lambda: [1] if machine.client.has_owner else [])
    assert "no workers" in shell("submit", "--", "true")[1]


def test_wait_says_by_its_exit_code_how_it_went(machine, shell):
    machine.start()
    good, bad = shell.submit(machine.note()), shell.submit(machine.note(fails=1))
    held = shell.submit(machine.gated())
    shell("wait", good)
    shell("wait", good, bad, code=1)
    assert "has not ended" in shell("wait", "--timeout", "0.1", held, code=3)[1]
    shell("wait", "--timeout", "0.1", "--idle", code=3)
    machine.open_gate()
    shell("wait", "--idle", "--timeout", "30")
    assert shell.json("wait", held)[0]["status"] == "success"


# A timer farther away than the kernel's longest wait once ended the daemon with a traceback.
@pytest.mark.parametrize("limit", ["30d", "99999999999999999999999d"])
def test_limits_beyond_all_measure_leave_the_daemon_alive(machine, shell, limit):
    machine.start()
    held = shell.submit(machine.gated())
    machine.until_written("begin")
    waiting = shell.begin("wait", "--timeout", limit, held)
    assert shell("submit", "--timeout", "30d", "--wait", "--", "true")[0] == "2\n"
    machine.open_gate()
    assert waiting.wait(30) == 0
    assert machine.daemon.poll() is None
    assert "Traceback" not in machine.said()


def test_tree_shows_children_of_both_kinds(machine, shell):
    machine.start()
    parent = shell.submit(machine.note(children=2, submit=1))
    shell("wait", "--idle")
    *lines, total = shell("tree", parent)[0].splitlines()
    assert [line.strip("|-`├─└ ").split()[:2] for line in lines] == [
        [str(job), "success"] for job in (1, 2, 3, 4)
    ]
    assert [line[0].isdigit() for line in lines] == [True, False, False, False]
    assert total == "4 jobs: 4 success"
    shell("archive", 3)
    family = shell.json("tree", parent)
    assert [(child["id"], child["archived"]) for child in family["children"]] == [
        (2, False),
        (3, True),
        (4, False),
    ]


def test_watch_and_log_follow_a_job_over_a_killed_daemon(machine, shell):
    machine.start()
    job = shell.submit(machine.gated(talks=2), machine.note())
    machine.until_written("begin")
    watching, following = shell.begin("watch", job), shell.begin("log", "-f", job)
    assert following.stdout.readline() == "line 0\n"
    assert watching.stdout.readline() == "job 1: running\n"
    machine.kill()
    machine.start()
    machine.open_gate()
    assert following.stdout.read().splitlines() == ["line 1", "line 0"]
    told = watching.stdout.read()
    assert watching.stderr.read() == following.stderr.read() == f"{NOBODY}\n"
    assert watching.wait(30) == following.wait(30) == 0
    assert told.splitlines()[-1] == "job 1: success"
    assert told.count("line 1") == 1
    assert told.index("job 1.0 NOTE") < told.index("job 1.0 | line 1") < told.index("job 1.1 NOTE")


def test_status_says_who_runs_the_queue(machine, shell):
    machine.start()
    until(lambda: [1] if machine.client.has_owner else [])
    found = shell.json("status")
    assert found["pid"] == machine.daemon.pid
    assert "OP_NOTE" in found["kinds"]
    assert str(machine.daemon.pid) in shell("status")[0]


# A run until idle once took the time before its first worker for idleness, and ended at once.
def test_run_ends_with_its_one_job_done(machine, shell):
    shell.submit(machine.note())
    _, err = shell("run", "--load", UNITS)
    assert err == ""
    assert [job["status"] for job in shell.json("list")] == ["success"]


def test_run_goes_on_for_the_children_and_leaves_what_cannot_start(machine, shell):
    shell.submit(machine.note(children=2))
    shell("submit", "--op", '{"OP_ID": "OP_NOBODY_KNOWS"}')
    shell("run", "--load", UNITS, "--workers", 1)
    statuses = [job["status"] for job in shell.json("list")]
    assert statuses == ["success", "queued", "success", "success"]


def test_settings_load_units_as_seen_from_the_queue_and_an_unknown_one_is_a_line(machine, shell):
    shell.submit(machine.note())
    (machine.queue.parent / "units.py").write_text(Path(UNITS).read_text())
    config = machine.queue / "config.toml"
    config.write_text('workers = 1\nload = ["../units.py"]\n')
    shell("run")
    assert [job["status"] for job in shell.json("list")] == ["success"]
    config.write_text("worker = 1\n")
    _, err = shell("run", code=1)
    assert err.count("\n") == 1
    assert "unknown setting 'worker'; is workers meant?" in err


def test_run_on_an_empty_queue_ends_at_once(machine, shell):
    # A machine under load takes a while for three processes; what waits, waits for ever.
    shell("run", timeout_s=30)
    assert shell.json("list") == []


def test_run_with_units_that_cannot_be_loaded_is_one_line(machine, shell, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    _, err = shell("run", "--load", broken, code=1)
    assert err.count("\n") == 1
    assert "division by zero" in err
    assert not machine.queue.exists()


def test_run_beside_an_owner_is_one_line(machine, shell):
    machine.start()
    until(lambda: [1] if machine.client.has_owner else [])
    _, err = shell("run", code=1)
    assert err.count("\n") == 1
    assert machine.client.has_owner


# A daemon that had adopted a worker once waited for it until its limit.
@pytest.mark.parametrize("busy", [False, True])
def test_a_daemon_that_adopted_a_worker_ends_promptly_on_one_sigterm(machine, shell, busy):
    machine.start(workers=1)
    job = shell.submit(machine.gated())
    [begun] = machine.until_written("begin")
    machine.kill()
    daemon = shell.begin("daemon", "--load", UNITS, "--workers", 1)
    until(lambda: [1] if machine.client.has_owner else [])
    if not busy:
        machine.open_gate()
        shell("wait", job)
    daemon.send_signal(signal.SIGTERM)
    if busy:
        until(lambda: [1] if machine.client.status()["stopping"] else [])
        machine.open_gate()
    # Half of the limit after which it would end in any case.
    _, err = daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert "adopted" in err
    assert "Traceback" not in err
    until(lambda: [1] if is_gone(int(begun[4])) else [])
    assert set(machine.begun_and_ended().values()) == {1}
    assert shell.json("list", job)[0]["status"] == "success"


def test_the_daemon_command_runs_jobs_until_sigint(machine, shell):
    daemon = shell.begin("daemon", "--load", UNITS)
    until(lambda: [1] if machine.client.has_owner else [])
    held = shell.submit(machine.gated())
    machine.until_written("begin")
    daemon.send_signal(signal.SIGINT)
    _, err = daemon.communicate(timeout=30)
    assert daemon.returncode == 0
    assert "Traceback" not in err
    assert shell.json("list", held)[0]["status"] == "queued"


def test_recover_leaves_a_living_worker_to_the_next_daemon(machine, shell):
    machine.start(workers=1)
    job = shell.submit(machine.gated())
    [begun] = machine.until_written("begin")
    machine.kill()
    [planned] = shell.json("recover", "--plan")
    assert (planned["fate"], planned["pid"]) == ("adopt", int(begun[4]))
    [done] = shell.json("recover")
    assert (done["fate"], done["after"], done["over"]) == ("adopt", "running", True)
    assert not is_gone(int(begun[4]))
    machine.start(workers=1)
    machine.open_gate()
    shell("wait", job)
    assert set(machine.begun_and_ended().values()) == {1}


def test_recover_judges_what_a_dead_worker_left_and_kills_its_processes(machine, shell):
    machine.start(workers=1)
    job = shell.submit(machine.gated("OP_PARENT"))
    [child] = machine.until_written("child")
    worker = int(machine.client.job(job).to_dict()["process_id"])
    machine.kill()
    os.kill(worker, signal.SIGKILL)
    until(lambda: [1] if is_gone(worker) else [])
    [planned] = shell.json("recover", "--plan")
    assert (planned["fate"], planned["after"]) == ("bury", "queued")
    assert not is_gone(int(child[4]))
    [done] = shell.json("recover")
    assert (done["fate"], done["after"], done["over"]) == ("bury", "queued", True)
    assert is_gone(int(child[4]))
    assert shell.json("list")[0]["status"] == "queued"


def test_recover_goes_on_with_a_kill(machine, shell):
    machine.start(workers=1)
    job = shell.submit(machine.gated())
    [begun] = machine.until_written("begin")
    machine.kill()
    assert shell("cancel", "--kill", job)
    [planned] = shell.json("recover", "--plan")
    assert (planned["fate"], planned["after"]) == ("kill", "canceled")
    [done] = shell.json("recover")
    assert (done["after"], done["over"]) == ("canceled", True)
    assert is_gone(int(begun[4]))
