"""A real daemon, in a process of its own, that tests start, kill and start again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archive_tools.verify import is_clean, verify
from jqueue import connect

ROOT = Path(__file__).parents[2]
UNITS = str(Path(__file__).with_name("units.py"))
DAEMON = str(Path(__file__).with_name("daemon_process.py"))
OPTIONS = {"workers": 2, "silence_s": 30.0, "kill_grace_s": 0.5, "orphan_timeout_s": 20.0}


class Machine:
    """A queue directory, its daemons one after another, and what units wrote outside."""

    def __init__(self, path):
        self.queue = path / "queue"
        self.notes = path / "notes"
        self.gate = path / "gate"
        self.log = path / "daemon.log"
        self.daemon = None
        self.client = connect(self.queue, timeout_s=30)

    def start(self, *, sources=(UNITS,), seam=None, **options):
        """Start a daemon; `seam` is what `daemon_process` knows beside, `options` are its own."""
        settings = {
            "queue": str(self.queue),
            "sources": [str(source) for source in sources],
            "options": OPTIONS | options,
            **(seam or {}),
        }
        with self.log.open("ab") as log:
            command = [sys.executable, DAEMON, json.dumps(settings)]
            self.daemon = subprocess.Popen(command, stderr=log, cwd=ROOT)
        return self

    def until_dead(self):
        """Wait for a daemon that kills itself."""
        assert self.daemon.wait(30) == -signal.SIGKILL

    def kill(self):
        self.daemon.kill()
        self.daemon.wait(30)

    def terminate(self):
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(30)

    def note(self, **parameters):
        return {"OP_ID": "OP_NOTE", "path": str(self.notes), **parameters}

    def gated(self, kind="OP_NOTE", **parameters):
        return {"OP_ID": kind, "path": str(self.notes), "gate": str(self.gate), **parameters}

    def open_gate(self):
        self.gate.touch()

    def written(self):
        if not self.notes.exists():
            return []
        return [line.split() for line in self.notes.read_text().splitlines()]

    def until_written(self, what, count=1, timeout_s=30):
        """Wait for units to write so many lines of a kind; they are other processes."""
        return until(lambda: [line for line in self.written() if line[3] == what], count, timeout_s)

    def begun_and_ended(self):
        return Counter((job, op, what) for job, op, _, what, *_ in self.written())

    def said(self):
        return self.log.read_text()

    def close(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGINT)
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.client.close()
        for line in self.written():
            if line[3] in ("begin", "child"):
                end_process(int(line[4]))


def until(look, count=1, timeout_s=30):
    """Look at another process's doings until there are so many: nothing else can tell us."""
    end = time.monotonic() + timeout_s
    while True:
        found = look()
        if len(found) >= count:
            return found
        assert time.monotonic() < end, f"{found} after {timeout_s} s"
        time.sleep(0.005)


def end_process(pid):
    """End what a test left behind, if it still is one of its workers."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            command = file.read()
        if b"jqueue" in command or b"time.sleep(600)" in command:
            os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.close()
    if made.queue.exists():
        assert is_clean(verify(made.queue))


class Shell:
    """Runs `jqueue` on the machine's queue."""

    def __init__(self, machine):
        self.machine = machine
        self.begun = []

    def begin(self, *words):
        command = [sys.executable, "-m", "jqueue", *map(str, words)]
        env = {**os.environ, "JQUEUE_DIR": str(self.machine.queue)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.begun.append(subprocess.Popen(command, env=env, **pipes))
        return self.begun[-1]

    def close(self):
        for process in self.begun:
            process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

    def __call__(self, *words, code=0, timeout_s=60):
        process = self.begin(*words)
        out, err = process.communicate(timeout=timeout_s)
        assert "Traceback" not in err
        assert process.returncode == code, (out, err)
        return out, err

    def json(self, *words, code=0):
        return json.loads(self(*words, "--json", code=code)[0])

    def submit(self, *ops):
        words = [word for op in ops for word in ("--op", json.dumps(op))]
        return int(self("submit", *words)[0])


@pytest.fixture
def shell(machine):
    made = Shell(machine)
    yield made
    made.close()
