"""Submits per second and time to open, as ratios in one run; 360-byte payloads, all durable.
Then jobs carried out, and a long history read (`bench.execution`, `bench.archive`).

python -m bench [DIR]        DIR is on the disk to be measured; a temporary folder without it
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from bench.archive import archive
from bench.execution import execution
from bench.lifecycle import lifecycle, many
from bench.peers import PAYLOAD, RECORD, Bare, Sqlite, SqliteGroup
from bench.socket import sockets
from bench.timing import per_second
from jqueue.queue.clock import SystemClock
from jqueue.queue.core import QueueCore
from jqueue.store.directory import DirectoryStore

ROUNDS = 5
SUBMITS = 400
PENDING = 100_000


class Ours:
    """A queue, its job files written before `submit` returns or behind it."""

    def __init__(self, path, files):
        self._store = DirectoryStore.open(path, files=files)
        self._queue = QueueCore(self._store, SystemClock())

    def submit(self, _):
        self._queue.submit([PAYLOAD])

    def close(self):
        self._store.close()


CANDIDATES = {
    "append + fdatasync": Bare,
    "sqlite WAL FULL": Sqlite,
    "sqlite, group commit": SqliteGroup,
    "jqueue, file in place": lambda path: Ours(path, "now"),
    "jqueue, file behind": lambda path: Ours(path, "behind"),
}


def submits(root):
    found = {}
    for number in range(ROUNDS + 1):
        for name, make in CANDIDATES.items():
            for threads in (1, 8):
                if name == "append + fdatasync" and threads > 1:
                    continue
                subject = make(root / f"{number}-{threads}-{name.replace(' ', '-')}")
                try:
                    measured = per_second(partial(subject.submit, RECORD), SUBMITS, threads)
                finally:
                    subject.close()
                if number:  # the first round warms up
                    found.setdefault((name, threads), []).append(measured)
    limit = statistics.median(found["append + fdatasync", 1])
    print(f"{'submit, durable':<28}{'threads':>8}{'jobs/s':>10}{'x limit':>10}")
    for (name, threads), rates in found.items():
        median = statistics.median(rates)
        print(f"{name:<28}{threads:>8}{median:>10.0f}{median / limit:>10.2f}")


def opening(root):
    """Kill a process that holds PENDING jobs, files caught up; time until the first is at hand."""
    path = root / "pending"
    filler = (
        "import sys, os, signal\n"
        "from jqueue.queue.clock import SystemClock\n"
        "from jqueue.queue.core import QueueCore\n"
        "from jqueue.store.directory import DirectoryStore\n"
        "from bench.__main__ import PAYLOAD, PENDING\n"
        "store = DirectoryStore.open(sys.argv[1], files='behind')\n"
        "queue = QueueCore(store, SystemClock())\n"
        "for _ in range(PENDING // 1000):\n"
        "    queue.submit_many([[PAYLOAD]] * 1000)\n"
        "store.checkpoint()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", filler, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL, done
    began = time.perf_counter()
    store = DirectoryStore.open(path)
    _, first = next(store.claim_order())
    assert store.find(first).document["id"] == first
    took = time.perf_counter() - began
    store.close()
    print(f"\nopen {PENDING} pending jobs after kill -9, to the first job: {took * 1000:.0f} ms")


def main():
    root = Path(tempfile.mkdtemp(prefix="jqueue-bench-", dir=sys.argv[1] if sys.argv[1:] else None))
    os.sync()
    try:
        submits(root)
        lifecycle(root)
        many(root)
        opening(root)
        execution(root)
        archive(root)
        sockets(root)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
