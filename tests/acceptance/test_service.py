"""The daemon as a service: what its manager hears, and how it stops."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from jqueue.daemon.config import Config
from jqueue.daemon.notify import STOP_MARGIN_S
from tests.acceptance.conftest import ROOT, end_process, is_gone, until
from tests.acceptance.conftest import UNITS as DECLARED

UNITS = [ROOT / "systemd" / name for name in ("jqueue.service", "jqueue@.service")]


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """A service manager's socket, which the next daemon is told of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield heard


def hear(heard, what):
    """Return the next message that says `what`."""
    while True:
        message = dict(line.split("=", 1) for line in heard.recv(4096).decode().splitlines())
        if what in message:
            return message


def test_the_manager_hears_ready_after_recovery_then_the_watchdog_then_stopping(machine, manager):
    client = machine.start(workers=1).client
    assert hear(manager, "READY")["STATUS"] == "no unfinished jobs"
    # Ready is ready: the first request is answered, nobody has to try again.
    running = client.submit([machine.gated()])
    machine.until_written("begin")
    client.submit([machine.note()])
    machine.kill()
    machine.start(workers=1)
    assert hear(manager, "READY")["STATUS"] == "1 queued, 1 running"
    assert client.job(running).status == "running"
    for _ in range(3):
        hear(manager, "WATCHDOG")
    client.pause()
    status = hear(manager, "STATUS")["STATUS"]
    assert status == "1 queued, 1 running; paused"
    machine.daemon.terminate()
    stopping = hear(manager, "STOPPING")
    assert stopping["STATUS"] == "1 queued, 1 running; paused; stopping"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 60_000_000
    machine.open_gate()
    assert machine.daemon.wait(30) == 0
    assert "1 to adopt" in machine.said()


def test_ready_is_said_when_what_dead_workers_left_has_been_judged(machine, manager):
    client = machine.start(workers=1).client
    client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    machine.kill()
    end_process(int(begun[4]))
    hear(manager, "READY")
    machine.start(workers=0)
    assert hear(manager, "READY")["STATUS"] == "1 queued"


def test_what_the_daemon_starts_does_not_hear_of_the_manager(machine, manager):
    client = machine.start(workers=1).client
    show = ["sh", "-c", "env; cat /proc/$PPID/environ | tr '\\0' '\\n'"]
    job = client.wait(client.submit([{"OP_ID": "OP_EXEC", "argv": show}]), 30)
    names = {entry[3].split("=")[0] for entry in job.ops[0].log}
    assert "PATH" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_restart_keeps_workers_and_a_stop_has_the_time_that_it_may_take(unit):
    said = dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))
    assert (said["Type"], said["KillMode"], said["Restart"]) == ("notify", "process", "always")
    assert int(said["TimeoutStopSec"]) >= Config().stop_limit_s + STOP_MARGIN_S


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_units():
    command = ["systemd-analyze", "verify", "--man=no", *UNITS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stderr, done.returncode) == ("", 0)


def test_drain_and_pause_survive_a_kill_and_a_stop_with_reason_by_whom_and_since(machine):
    client = machine.start(workers=0).client

    def flags():
        return client.drain_state(), client.pause_state()

    def start():
        machine.start(workers=0)
        until(lambda: [1] if client.has_owner else [])

    client.drain("moving house", by="ann")
    client.pause("disk check", by="bob")
    said = flags()
    assert [(one["reason"], one["by"]) for one in said] == [
        ("moving house", "ann"),
        ("disk check", "bob"),
    ]
    machine.kill()
    assert flags() == said, "read from the files"
    start()
    assert flags() == said
    assert machine.terminate() == 0
    start()
    assert (client.status()["drain"], client.status()["pause"]) == said
    client.undrain()
    client.resume()
    assert machine.terminate() == 0
    assert flags() == (None, None)


def test_sigterm_waits_no_longer_than_its_limit_and_the_next_daemon_takes_over(machine):
    machine.queue.mkdir(0o700)
    (machine.queue / "config.toml").write_text("stop_limit_s = 0.1")
    client = machine.start(workers=1).client
    job = client.submit([machine.gated(), machine.note()])
    machine.until_written("begin")
    assert machine.terminate() == 0
    assert "opcodes left to the next owner: 1" in machine.said()
    assert client.job(job).status == "running"
    machine.start(workers=1)
    machine.open_gate()
    assert client.wait(job, 30).status == "success"
    assert set(machine.begun_and_ended().values()) == {1}


def test_sigint_during_a_stop_ends_what_it_waits_for(machine):
    client = machine.start(workers=1).client
    job = client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    machine.daemon.send_signal(signal.SIGTERM)
    until(lambda: [1] if client.status()["stopping"] else [])
    machine.daemon.send_signal(signal.SIGINT)
    assert machine.daemon.wait(30) == 0
    assert is_gone(int(begun[4]))
    assert client.job(job).status == "queued"


# It ended with -15: the handlers were set when the queue was open, and taken back when it closed.
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_daemon_that_is_told_to_stop_before_it_is_up_ends_in_order(machine, tmp_path, signum):
    slow = tmp_path / "slow.py"
    slow.write_text("print('loading', flush=True)\ninput()\n")
    command = [sys.executable, "-m", "jqueue", "daemon", "--queue", machine.queue, "--load", slow]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as starting:
        assert starting.stdout.readline() == "loading\n"
        starting.send_signal(signum)
        assert starting.wait(30) == 0
    assert not machine.queue.exists()


def start_on_a_terminal(machine):
    """Start its daemon on a terminal of its own; return the other end."""
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", "--wait", sys.executable, "-m", "jqueue", "daemon"]
    words = ["--queue", str(machine.queue), "--load", DECLARED]
    machine.daemon = subprocess.Popen(
        [*command, *words], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    return ours


def test_a_daemon_whose_terminal_is_closed_stops_in_order(machine):
    ours = start_on_a_terminal(machine)
    job = machine.client.submit([machine.gated(), machine.note()])
    machine.until_written("begin")
    os.close(ours)
    machine.open_gate()
    assert machine.daemon.wait(30) == 0
    assert [op.status for op in machine.client.job(job).ops] == ["success", "queued"]


def test_with_nohup_a_daemon_goes_on_when_its_terminal_is_closed(machine):
    command = ["nohup", sys.executable, "-m", "jqueue", "daemon", "--queue", str(machine.queue)]
    with machine.log.open("ab") as log:
        machine.daemon = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    job = machine.client.submit([{"OP_ID": "OP_EXEC", "argv": ["true"]}])
    assert machine.client.wait(job, 30).status == "success"
    machine.daemon.send_signal(signal.SIGHUP)
    job = machine.client.submit([{"OP_ID": "OP_EXEC", "argv": ["true"]}])
    assert machine.client.wait(job, 30).status == "success"


def test_control_c_on_the_terminal_ends_the_workers_and_queues_again_what_ran(machine):
    ours = start_on_a_terminal(machine)
    job = machine.client.submit([machine.gated()])
    [begun] = machine.until_written("begin")
    os.write(ours, b"\x03")
    assert machine.daemon.wait(30) == 0
    os.close(ours)
    assert is_gone(int(begun[4]))
    assert machine.client.job(job).ops[0].attempts == 0
    assert machine.client.job(job).status == "queued"
