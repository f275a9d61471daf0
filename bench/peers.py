"""What others reach with the same payload: the bare calls, and hand-written SQLite job tables."""

import os
import queue
import sqlite3
import threading

PAYLOAD = {"OP_ID": "OP_TEST_DELAY", "duration": 0, "payload": "x" * 300}
"""What everybody submits."""
RECORD = b"x" * 700
"""As many bytes as its document has."""
SCHEMA = "CREATE TABLE IF NOT EXISTS job (id INTEGER PRIMARY KEY, status TEXT, document BLOB)"
INSERT = "INSERT INTO job (status, document) VALUES ('queued', ?)"


class Bare:
    """The limit: one append and one fdatasync for each submission."""

    def __init__(self, path):
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def submit(self, data):
        os.write(self._fd, data)
        os.fdatasync(self._fd)

    def close(self):
        os.close(self._fd)


def _connect(path):
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    return base


class Sqlite:
    """A job table, WAL, synchronous=FULL, one transaction for each submission, one lock."""

    def __init__(self, path):
        self._base = _connect(path)
        self._base.execute(SCHEMA)
        self._lock = threading.Lock()

    def submit(self, data):
        with self._lock:
            self._base.execute(INSERT, (data,))

    def submit_many(self, rows):
        with self._lock:
            self._base.execute("BEGIN")
            self._base.executemany(INSERT, ((data,) for data in rows))
            self._base.execute("COMMIT")

    def close(self):
        self._base.close()


class SqliteGroup:
    """The same with one writer thread that commits all that waits as one transaction."""

    def __init__(self, path):
        self._base = _connect(path)
        self._base.execute(SCHEMA)
        self._waiting = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def submit(self, data):
        gate = threading.Lock()
        gate.acquire()
        self._waiting.put((data, gate))
        gate.acquire()

    def _write(self):
        while True:
            batch = [self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get())
            rows = [(data,) for data, gate in batch if gate is not None]
            self._base.execute("BEGIN")
            self._base.executemany(INSERT, rows)
            self._base.execute("COMMIT")
            for _, gate in batch:
                if gate is None:
                    return
                gate.release()

    def close(self):
        self._waiting.put((b"", None))
        self._thread.join()
        self._base.close()


class SqliteLine(Sqlite):
    """Pending rows that threads or processes claim and finish, each step durable.

    Without jobs of its own it works off those of a line that somebody else has made.
    """

    def __init__(self, path, jobs=0):
        super().__init__(path)
        if jobs:
            self.submit_many([b"x" * 360] * jobs)
            self._base.execute("CREATE INDEX queued ON job (status, id)")

    def work(self):
        while self.work_one():
            pass

    def work_one(self):
        claim = (
            "UPDATE job SET status = 'running' WHERE id ="
            " (SELECT id FROM job WHERE status = 'queued' ORDER BY id LIMIT 1) RETURNING id"
        )
        with self._lock:
            row = self._base.execute(claim).fetchone()
        if row is None:
            return False
        with self._lock:
            self._base.execute("UPDATE job SET status = 'success' WHERE id = ?", row)
        return True
