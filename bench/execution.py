"""Jobs carried out: no-op opcodes through worker processes, and how soon one runs or is missed.

Every transition is durable: submitted, started, finished.  The limit is one append and fdatasync a
transition, measured beside each round, because the disk is shared and noisy.
"""

import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from bench.peers import Bare, SqliteLine
from bench.timing import per_second
from jqueue import OpCode, connect, logical_unit
from jqueue.daemon import main as daemon
from jqueue.daemon.config import Config
from jqueue.execution.executions import Options

NOOPS = 4000
WARM = 200
WORKERS = (1, 2, 4)
LATENCIES = 100
KILLS = 40
RECORD = b"x" * 360
WORK = """
import sys
from bench.peers import SqliteLine
line = SqliteLine(sys.argv[1])
print(flush=True)
sys.stdin.read()
line.work()
"""
SERVE = "import sys; from bench.execution import serve; serve(sys.argv[1], int(sys.argv[2]))"


class BenchNoop(OpCode):
    """Does nothing."""


class BenchHang(OpCode):
    """Says its process, and waits to be killed."""


@logical_unit(BenchNoop)
def noop(_op, _context):
    return None


@logical_unit(BenchHang)
def hang(_op, context):
    context.feedback(str(os.getpid()))
    while not context.cancel_requested:
        signal.pause()


def serve(path, workers):
    """Be its daemon; job files follow within a second."""
    logging.disable(logging.WARNING)  # deaths are what is measured
    daemon.serve(path, options=Options(workers=workers), config=Config(files="behind"))


class Served:
    """A queue with a daemon of its own."""

    def __init__(self, path, workers):
        self.client = connect(path, timeout_s=30)
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(path), str(workers)])
        # Warm: every worker is there, and has worked.
        ids = self.submit(WARM)
        self.client.wait(ids[-1])

    def submit(self, jobs):
        return [done.value for done in self.client.submit_many([[BenchNoop()]] * jobs)]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.client.close()


def limit(path, count=1000):
    """Return appends with fdatasync a second."""
    bare = Bare(path)
    try:
        return per_second(partial(bare.submit, RECORD), count)
    finally:
        bare.close()


def noops(path, workers):
    """Return no-op jobs a second, from the first start to the last end."""
    served = Served(path, workers)
    try:
        served.client.pause()
        ids = served.submit(NOOPS)
        began = time.perf_counter()
        served.client.resume()
        served.client.wait(ids[-1])
        # With several workers others may end a moment later than the last one submitted.
        while served.client.count(statuses=["queued", "running"]):
            time.sleep(0.001)
        return NOOPS / (time.perf_counter() - began)
    finally:
        served.close()


def sqlite_line(path, threads):
    """Return jobs a second, claimed and finished durably by threads; execution not included."""
    line = SqliteLine(path, NOOPS)
    workers = [threading.Thread(target=line.work) for _ in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return NOOPS / (time.perf_counter() - began)


def sqlite_workers(path, workers):
    """Return jobs a second, claimed, carried out (nothing) and finished by worker processes."""
    SqliteLine(path, NOOPS).close()
    words = [sys.executable, "-c", WORK, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen(words, **pipes) for _ in range(workers)]
    for process in processes:
        process.stdout.read(1)
    began = time.perf_counter()
    for process in processes:
        process.stdin.close()
    for process in processes:
        assert process.wait() == 0
        process.stdout.close()
    return NOOPS / (time.perf_counter() - began)


def throughput(root):
    print(f"\n{'no-op jobs run, durable':<28}{'workers':>8}{'jobs/s':>10}{'x limit':>10}")
    for number, workers in enumerate(WORKERS):
        bound = limit(root / f"limit-{number}")
        ours = noops(root / f"noops-{number}", workers)
        alone = sqlite_line(root / f"line-{number}", workers)
        peer = sqlite_workers(root / f"processes-{number}", workers)
        rates = {"jqueue": ours, "sqlite, worker processes": peer, "sqlite, no execution": alone}
        for name, rate in rates.items():
            print(f"{name:<28}{workers:>8}{rate:>10.0f}{rate / bound:>10.2f}")


def quantiles(times_s):
    ordered = sorted(times_s)
    return ", ".join(
        f"{name} {ordered[min(int(len(ordered) * part), len(ordered) - 1)] * 1000:.2f} ms"
        for name, part in (("p50", 0.5), ("p99", 0.99))
    )


def latency(root):
    """Time from the call of submit to the start record's time, on an idle daemon."""
    served = Served(root / "latency", 2)
    found = []
    for _ in range(LATENCIES):
        time.sleep(0.02)
        submitted = time.time()
        job = served.client.wait(served.client.submit([BenchNoop()]))
        found.append(job.ops[0].executed.timestamp() - submitted)
    served.close()
    print(f"submit to running, idle daemon: {quantiles(found)}")


def deaths(root):
    """Time from kill -9 of a worker to the durable record that says so."""
    served = Served(root / "deaths", 2)
    client, found = served.client, []
    for _ in range(KILLS):
        job = client.submit([BenchHang()])
        seen = client.job(job)
        while not seen.ops[0].log:
            seen = client.wait_change(job, seen.lsn)
        began = time.time()
        os.kill(int(seen.ops[0].log[0][3]), signal.SIGKILL)
        while not any(entry[2] == "interrupted" for entry in seen.ops[0].log):
            seen = client.wait_change(job, seen.lsn)
        [[_, (seconds, micros), *_]] = [
            entry for entry in seen.ops[0].log if entry[2] == "interrupted"
        ]
        found.append(seconds + micros / 1e6 - began)
        client.cancel(job, kill=True)
        client.wait(job)
    served.close()
    print(f"kill -9 of a worker to its record: {quantiles(found)}")


def log_lines(root):
    """Time for the first and the tenth 1,000 lines of one opcode: as much."""
    served = Served(root / "lines", 1)
    script = "i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done"
    job = served.client.wait(
        served.client.submit([{"OP_ID": "OP_EXEC", "argv": ["sh", "-c", script]}])
    )
    stamps = [entry[1][0] + entry[1][1] / 1e6 for entry in job.ops[0].log]
    served.close()
    parts = [stamps[at + 999] - stamps[at] for at in range(0, 10_000, 1000)]
    total = job.ops[0].ended.timestamp() - job.ops[0].executed.timestamp()
    print(
        f"10,000 output lines: {total:.2f} s; first 1,000 {parts[0] * 1000:.0f} ms,"
        f" last {parts[-1] * 1000:.0f} ms, median {statistics.median(parts) * 1000:.0f} ms"
    )


def execution(root: Path) -> None:
    """Measure all of it below `root`."""
    throughput(root)
    latency(root)
    deaths(root)
    log_lines(root)
