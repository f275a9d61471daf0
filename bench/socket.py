"""The daemon over its socket: submissions, a query of everything, who waits, what holds up others.

Everything is durable; the daemon has no workers, so nothing else happens.  The limit is one append
and fdatasync a submission, measured beside each round.  luxid's figures are constants, measured
once on another day on a machine of the same size; they can't be had here without a cluster.
"""

import json
import multiprocessing
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time

from bench.execution import SERVE, limit, quantiles
from bench.peers import PAYLOAD
from jqueue import connect
from jqueue.job.query import GANETI

SUBMITS = 2000
CLIENTS = (1, 4, 16)
BATCH = 1000
QUERIED = 10_000
WAKES = 200
WATCHERS = 1000
LARGE_BYTES = 60 << 20
LUXID_ONE = 644
LUXID_BATCH = 1635
END = b"\x03"


class Served:
    """A queue and a daemon that only accepts."""

    def __init__(self, path):
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(path), "0"])
        self.client = connect(path, timeout_s=30)
        # The first verb creates the queue if the daemon is slower; this one waits for its socket.
        while not self.client.has_owner:
            time.sleep(0.01)

    def say(self, method, *args):
        """Send a LUXI request on a connection of its own."""
        return say(self.path, method, *args)

    def ask(self, method, *args):
        """Return the bytes of the answer."""
        with self.say(method, *args) as stream:
            return receive(stream)

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            [line] = [line for line in file if line.startswith("VmRSS")]
        return int(line.split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self):
        self.client.close()
        self.process.terminate()
        self.process.wait()


def say(path, method, *args):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(os.path.join(path, "socket"))
    stream.sendall(json.dumps({"method": method, "args": args}).encode() + END)
    return stream


def receive(stream):
    parts = [b""]
    while not parts[-1].endswith(END):
        parts.append(stream.recv(1 << 20))
        assert parts[-1], "the daemon closed the connection"
    return b"".join(parts)


def submit(path, count, ready, go):
    with connect(path, timeout_s=30) as client:
        client.count()
        ready.release()
        go.wait()
        for _ in range(count):
            client.submit([PAYLOAD])
    ready.release()


def submits(served, clients):
    """Return submissions a second of so many client processes together."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    each = SUBMITS // clients
    processes = [
        context.Process(target=submit, args=(served.path, each, ready, go)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        ready.acquire()
    began = time.perf_counter()
    go.set()
    for _ in processes:
        ready.acquire()
    took = time.perf_counter() - began
    for process in processes:
        process.join()
    return each * clients / took


def batches(served):
    """Return jobs a second, in batches."""
    jobs = [[PAYLOAD]] * BATCH
    began = time.perf_counter()
    for _ in range(QUERIED // BATCH):
        served.client.submit_many(jobs)
    return QUERIED / (time.perf_counter() - began)


def query(served):
    """Return the milliseconds of a Query of all jobs and fields, and the answer's size."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        answer = served.ask("Query", "job", list(GANETI), None)
        times.append((time.perf_counter() - began) * 1000)
    assert answer.count(b"OP_TEST_DELAY") >= QUERIED
    return statistics.median(times), len(answer)


def wakes(served):
    """Return how long after the beginning of a job's last change its waiter has the job."""
    found = []
    with connect(served.path) as other:
        for _ in range(WAKES):
            job = served.client.submit([PAYLOAD])
            woken = []

            def wait(job=job, woken=woken):
                other.wait(job)
                woken.append(time.perf_counter())

            waiter = threading.Thread(target=wait)
            waiter.start()
            time.sleep(0.005)
            began = time.perf_counter()
            served.client.cancel(job)
            waiter.join()
            found.append(woken[0] - began)
    return found


def commits(served, count=200):
    """Return how long a submission takes while others do what they do."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        served.client.submit([PAYLOAD])
        times.append(time.perf_counter() - began)
    return times


def watch(served, jobs):
    """Return connections that wait for these jobs' ends, each known to the daemon."""
    streams = []
    for job in jobs:
        # Accepted when the first is answered; the second then takes a turn of the loop or two.
        stream = served.say("QueryConfigValues", [])
        receive(stream)
        request = {"method": "WaitForJobChange", "args": [job, ["status"], ["queued"], 0, 600]}
        stream.sendall(json.dumps(request).encode() + END)
        streams.append(stream)
    for _ in range(1 + WATCHERS // 100):
        served.client.count()
    return streams


def watchers(served):
    """1,000 who wait, on jobs of their own and on one: what they cost, how soon all are woken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < WATCHERS + 100:
        print(f"watchers: not measured, no more than {hard} descriptors here")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, WATCHERS + 100), hard))
    alone = commits(served)
    memory, descriptors = served.memory_kib(), served.descriptors()
    own = [answer.value for answer in served.client.submit_many([[PAYLOAD]] * WATCHERS)]
    streams = watch(served, own)
    more = served.memory_kib() - memory
    print(
        f"{WATCHERS} watchers: {more / WATCHERS:.1f} KiB and"
        f" {(served.descriptors() - descriptors) / WATCHERS:.2f} descriptors each"
    )
    print(f"  a submission with none: {quantiles(alone)}")
    print(f"  with all on other jobs: {quantiles(commits(served))}")
    for stream in streams:
        stream.close()
    one = served.client.submit([PAYLOAD])
    streams = watch(served, [one] * WATCHERS)
    began = time.perf_counter()
    served.client.cancel(one)
    changed = time.perf_counter() - began
    woken = []
    for stream in streams:
        receive(stream)
        woken.append(time.perf_counter() - began)
        stream.close()
    print(
        f"  the change that wakes all: {changed * 1000:.1f} ms; woken: {quantiles(woken)},"
        f" the last {max(woken) * 1000:.1f} ms"
    )


def large(client, _path):
    client.submit_many([[{**PAYLOAD, "payload": "x" * (LARGE_BYTES // 2)}]] * 2)


def batch(client, _path):
    client.submit_many([[PAYLOAD]] * QUERIED)


def querying(_client, path):
    with say(path, "Query", "job", list(GANETI), None) as stream:
        receive(stream)


def listing(client, _path):
    for _ in client.jobs():
        pass


BURDENS = (
    (f"submitting {LARGE_BYTES >> 20} MiB", large, 0),
    (f"a batch of {QUERIED} jobs", batch, 0),
    ("a Query of 20000 jobs", querying, 20_000),
    ("jobs() over 100000 jobs", listing, 100_000),
)
"""What a client can hold up others with, and how many jobs there are to be."""


def bear(path, burden, ready, go):
    with connect(path, timeout_s=60) as client:
        client.count()
        ready.release()
        go.wait()
        burden(client, path)


def beside(served, burden):
    """Return the waits of small submissions while another process is such a burden."""
    context = multiprocessing.get_context("spawn")
    ready, go = context.Semaphore(0), context.Event()
    process = context.Process(target=bear, args=(served.path, burden, ready, go))
    process.start()
    ready.acquire()
    go.set()
    waits = []
    while process.is_alive():
        waits += commits(served, 1)
    process.join()
    return waits


def held_up(root):
    """The worst wait of a small submission beside each burden, and without one."""
    served = Served(root / "socket-held-up")
    print(f"a submission beside nothing: {quantiles(commits(served))}")
    jobs = 0
    for name, burden, needed in BURDENS:
        while jobs < needed:
            served.client.submit_many([[PAYLOAD]] * BATCH)
            jobs += BATCH
        waits = beside(served, burden)
        print(f"  beside {name}: {quantiles(waits)}, the worst {max(waits) * 1000:.0f} ms")
    served.close()


def sockets(root):
    """Measure all of it below `root`."""
    print(f"\n{'over the socket, durable':<28}{'clients':>8}{'jobs/s':>10}{'x limit':>10}")
    for clients in CLIENTS:
        bound = limit(root / f"socket-limit-{clients}")
        served = Served(root / f"socket-{clients}")
        rate = submits(served, clients)
        served.close()
        print(f"{'submit':<28}{clients:>8}{rate:>10.0f}{rate / bound:>10.2f}")
    served = Served(root / "socket")
    rate = batches(served)
    print(f"{f'batches of {BATCH}':<28}{1:>8}{rate:>10.0f}{rate / bound:>10.2f}")
    print(f"(luxid, elsewhere: {LUXID_ONE} one by one, {LUXID_BATCH} in a batch)")
    took, size = query(served)
    print(f"Query of {QUERIED} jobs, {len(GANETI)} fields: {took:.0f} ms, {size >> 10} KiB")
    print(f"wait, from the change's request to its waiter: {quantiles(wakes(served))}")
    watchers(served)
    served.close()
    held_up(root)
