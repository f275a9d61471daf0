"""A job's whole life, by those who bring their own workers; and many jobs submitted at once.

Submitted, claimed and finished, each durable: the limit is three appends with fdatasync.  What a
peer's statement of many rows costs is the measure of `submit_many`.
"""

import statistics
import time

import orjson

from bench.peers import PAYLOAD, RECORD, Bare, Sqlite, SqliteLine
from bench.timing import per_second
from jqueue import JobQueue

CYCLES = 300
WARM = 20
ROUNDS = 3
MANY = 10_000


class Ours:
    """One process; its threads submit and claim."""

    def __init__(self, path):
        self._queue = JobQueue.open(path, files="behind")

    def live(self):
        self._queue.submit([PAYLOAD])
        claim = self._queue.claim()
        claim.finish(None)

    def close(self):
        self._queue.close()


class Limit:
    """Three appends, each with its fdatasync."""

    def __init__(self, path):
        self._bare = Bare(path)

    def live(self):
        for _ in range(3):
            self._bare.submit(RECORD)

    def close(self):
        self._bare.close()


class Peer:
    """SQLite: three statements, each a transaction."""

    def __init__(self, path):
        self._line = SqliteLine(path, 0)

    def live(self):
        self._line.submit(RECORD)
        self._line.work_one()

    def close(self):
        self._line.close()


def lives(subject, threads):
    """Return lives a second of so many threads together."""
    for _ in range(WARM):
        subject.live()
    return per_second(subject.live, CYCLES, threads)


def lifecycle(root):
    subjects = {"three appends": (Limit, 1), "sqlite": (Peer, 1), "sqlite ": (Peer, 2)}
    subjects |= {"jqueue, claim": (Ours, 1), "jqueue, claim ": (Ours, 2)}
    found = {name: [] for name in subjects}
    for number in range(ROUNDS):
        for name, (make, threads) in subjects.items():
            subject = make(root / f"{number}-{threads}-{name.strip().replace(' ', '-')}")
            try:
                found[name].append(lives(subject, threads))
            finally:
                subject.close()
    limit = statistics.median(found["three appends"])
    print(f"\n{'submitted, claimed, finished':<28}{'threads':>8}{'jobs/s':>10}{'x limit':>10}")
    for name, (_, threads) in subjects.items():
        median = statistics.median(found[name])
        print(f"{name:<28}{threads:>8}{median:>10.0f}{median / limit:>10.2f}")


def many(root):
    """Print how long one call with MANY jobs takes until it is acknowledged, beside SQLite's."""
    ours, peer = [], []
    for number in range(ROUNDS):
        with JobQueue.open(root / f"many-{number}", files="behind") as queue:
            began = time.perf_counter()
            queue.submit_many([[PAYLOAD]] * MANY)
            ours.append(MANY / (time.perf_counter() - began))
        base = Sqlite(root / f"many-{number}.db")
        began = time.perf_counter()
        base.submit_many(orjson.dumps(job) for job in [PAYLOAD] * MANY)
        peer.append(MANY / (time.perf_counter() - began))
        base.close()
    ratio = statistics.median(ours) / statistics.median(peer)
    print(
        f"submit_many of {MANY}: {statistics.median(ours):.0f} jobs/s,"
        f" sqlite executemany {statistics.median(peer):.0f}: x {ratio:.2f}"
    )
