"""A writer and a reader of one queue that take turns, call by call, as a test says."""

import threading

from jqueue.job import jsonio
from jqueue.job.change import Archived, Pruned
from jqueue.job.state import Entry, Place
from jqueue.store.protocol import Transaction
from tests.crash.workload import RESTS, TRANSACTIONS, finish, open_store, submit
from tests.fakes import FakeDisk

READING = {"read", "read_range", "size", "exists", "is_dir", "names"}

MORE = [
    finish(5),
    [Archived(5, 4.0), Archived(2, 4.0)],
    [Pruned(1)],
    [*submit(40, 41), Pruned(3)],
    [change for job in range(10, 20) for change in finish(job)],
    [Archived(job, 5.0) for job in range(10, 20)],
    "pack",
    [Pruned(10), Pruned(5)],
    submit(42),
    "unpack",
    submit(43),
]
"""After the day of the workload: what is archived is pruned, packed and unpacked."""


class Writer:
    """Lives a queue's day on `disk`; `states[lsn]` is what it committed through that LSN."""

    def __init__(self, disk: FakeDisk, **options) -> None:
        self.disk = disk
        self.options = options
        self.states = {0: {}}
        self.acknowledged = 0
        self.durable = 0
        self.history_bytes = 256 << 20

    def live(self) -> None:
        store = self._open()
        for at, transaction in enumerate(TRANSACTIONS):
            rest = RESTS.get(at)
            if rest == "checkpoint":
                store.checkpoint()
            elif rest == "mark":
                store.ledger.mark()
            elif rest == "reopen":
                store.close()
                store = self._open()
            self._commit(store, transaction)
        for at, changes in enumerate(MORE):
            if isinstance(changes, str):
                getattr(store, changes)(0)
                continue
            self._commit(store, Transaction(f"more-{at}", tuple(changes)))
            if at % 2:
                store.checkpoint()
            else:
                store.files.write_all()
        store.close()

    def _open(self):
        store = open_store(self.disk, **self.options)
        store.checkpointer.history_bytes = self.history_bytes
        store.checkpointer.history_s = 1e10
        store.ledger.subscribe(self._note)
        return store

    def _commit(self, store, transaction) -> None:
        self.acknowledged = store.commit(transaction).lsn

    def _note(self, batch) -> None:
        self.durable = batch.lsn
        state = {**self.state_at(batch.lsn), **batch.values}
        self.states[batch.lsn] = {key: value for key, value in state.items() if value is not None}

    def state_at(self, lsn):
        """Return the newest state that is not later."""
        return self.states[max(known for known in self.states if known <= lsn)]


class Turns:
    """Runs a writer in a thread that stands still before each of its system calls."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.done = False
        self.error = None
        self._go = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        writer.disk.on_call = self._stand
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stands.acquire()

    def _stand(self, _name, _path) -> None:
        if threading.current_thread() is self._thread:
            self._stands.release()
            self._go.acquire()

    def _run(self) -> None:
        try:
            self.writer.live()
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.error = error
        self.done = True
        self._stands.release()

    def take(self, count: int) -> None:
        """Let the writer make `count` system calls, or fewer if it comes to its end."""
        for _ in range(count):
            if self.done:
                break
            self._go.release()
            self._stands.acquire()
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        while not self.done:
            self.take(1)
        self.take(0)
        self._thread.join()


class SteppedDisk:
    """A disk to read from: before each system call of the reader, `before_call` is called."""

    def __init__(self, disk: FakeDisk, before_call) -> None:
        self._disk = disk
        self._before_call = before_call

    def __getattr__(self, name):
        found = getattr(self._disk, name)
        if name not in READING:
            return found

        def call(*args, **options):
            self._before_call()
            return found(*args, **options)

        return call


def plain(value):
    return jsonio.loads(jsonio.dumps(value))


def jobs_in(state):
    """Return place and document of each job that a state shows."""
    return {
        key: (str(entry.place), plain(entry.document))
        for key, entry in state.items()
        if isinstance(entry, Entry) and entry.place in (Place.LIVE, Place.ARCHIVE)
    }


def jobs_of(queue):
    """Return the same of what a reader shows."""
    ids = queue.job_ids(archived=True)
    live = set(queue.job_ids())
    found = {}
    for job, entry in queue.entries(ids):
        assert entry is not None, (job, queue.lsn)
        assert (job in live) == (entry.place is Place.LIVE)
        found[job] = (str(entry.place), None if entry.document is None else plain(entry.document))
    return found


def others_in(values):
    """Return what is known beside the jobs."""
    return {key: value for key, value in values.items() if isinstance(key, str) and value}
