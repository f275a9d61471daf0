"""A real daemon, in a process of its own, that tests start, kill and start again."""

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

UNITS = str(Path(__file__).with_name("units.py"))
DAEMON = """
import logging, sys
from jqueue.daemon.main import run_daemon
from jqueue.execution.executions import Options
logging.basicConfig(level=logging.INFO, format="%(message)s")
workers, silence_s = int(sys.argv[2]), float(sys.argv[3])
options = Options(
    workers=workers, silence_s=silence_s, kill_grace_s=0.5, orphan_timeout_s=20.0
)
sys.exit(run_daemon(sys.argv[1], sources=sys.argv[4:], options=options))
"""


class Machine:
    """A queue directory, its daemons one after another, and what units wrote outside."""

    def __init__(self, path):
        self.queue = path / "queue"
        self.notes = path / "notes"
        self.gate = path / "gate"
        self.log = path / "daemon.log"
        self.daemon = None
        self.client = connect(self.queue, timeout_s=30)

    def start(self, *, workers=2, silence_s=30.0):
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-c", DAEMON, self.queue, str(workers), str(silence_s), UNITS],
                stderr=log,
            )
        return self

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
