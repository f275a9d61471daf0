"""Submissions wait for room; what ends work never does."""

import errno
import threading

import pytest

from jqueue.daemon.reactor import Reactor
from jqueue.errors import DiskFull, QueueFailed
from jqueue.queue.core import QueueCore
from jqueue.queue.submission import Terms, submit_one
from jqueue.store.directory import DirectoryStore
from tests.fakes import FakeDisk, Faulty
from tests.unit.queue.making import FrozenClock, begin, delay, end

LIMIT_S = 30


class Held:
    """A queue whose checkpointer is held up while `work` is taken."""

    def __init__(self, path):
        self.store = DirectoryStore.open(path, files="behind")
        self.store.room.max_unwritten = 5
        self.work = self.store.checkpointer._work
        self.queue = QueueCore(self.store, FrozenClock())

    def fill(self):
        self.work.acquire()
        self.queue.submit_many([[delay()]] * 6)
        assert self.store.room.is_full

    def close(self):
        if self.work.locked():
            self.work.release()
        self.queue.close()


@pytest.fixture
def held(tmp_path):
    held = Held(tmp_path / "queue")
    yield held
    held.close()


def in_thread(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


@pytest.mark.parametrize(
    "submit",
    [
        lambda queue: queue.submit([delay()]),
        lambda queue: queue.submit_many([[delay()]])[0].value,
        lambda queue: queue.retry(1),
    ],
)
def test_a_submission_waits_at_the_bound_and_finishing_does_not(held, submit):
    queue = held.queue
    queue.submit([delay()])
    queue.cancel(1)
    held.fill()
    asked = threading.Event()
    ask = held.store.when_room
    held.store.when_room = lambda call: (ask(call), asked.set())[0]
    thread, results = in_thread(lambda: submit(queue))
    assert asked.wait(LIMIT_S)
    end(queue, 2, begin(queue, 2))
    assert queue.cancel(3).ok
    assert queue.drain() is None
    assert queue.undrain() is None
    assert results == []
    assert queue.store.find("serial") == 7
    held.work.release()
    thread.join(LIMIT_S)
    assert results == [8]


def test_the_journal_has_a_bound_of_its_own(held):
    held.store.room.max_journal_bytes = held.store.journal.unretired_bytes
    held.store.room.max_unwritten = 10**9
    held.work.acquire()
    held.queue.submit([delay()])
    thread, results = in_thread(lambda: held.queue.submit([delay()]))
    held.store.room.max_journal_bytes = 1 << 20
    held.work.release()
    thread.join(LIMIT_S)
    assert results == [2]


def test_scarce_room_is_made_at_once():
    """The checkpointer lets changes gather for a second; a bound would throttle it by that."""
    store = DirectoryStore(FakeDisk(), files="behind")
    store.room.max_unwritten = 4
    written = threading.Event()
    store.checkpointer._pause = lambda: pytest.fail("it let changes gather")
    store.checkpointer._write_files, write = (
        lambda: (write(), written.set()),
        store.checkpointer._write_files,
    )
    queue = QueueCore(store, FrozenClock())
    queue.submit_many([[delay()]] * 5)
    assert written.wait(LIMIT_S)
    queue.close()


def test_without_a_thread_of_its_own_the_store_makes_room_when_asked():
    store = DirectoryStore(FakeDisk(), files="behind", background=False)
    store.room.max_unwritten = 3
    queue = QueueCore(store, FrozenClock())
    assert [queue.submit([delay()]) for _ in range(12)] == list(range(1, 13))
    assert store.files.behind <= 4
    queue.close()


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, DiskFull), (errno.EIO, QueueFailed)])
def test_what_keeps_files_from_following_is_told_to_who_waits_for_room(number, error):
    broken = threading.Event()
    broken.set()

    def fail(_n, name, path):
        wrong = broken.is_set() and name == "create" and "job-" in path
        return OSError(number, "broken", path) if wrong else None

    store = DirectoryStore(Faulty(FakeDisk(), fail), files="behind")
    store.room.max_unwritten = 3
    queue = QueueCore(store, FrozenClock())
    queue.submit([delay()])
    token = begin(queue, 1)
    queue.submit_many([[delay()]] * 3)
    with pytest.raises(error):
        queue.submit([delay()])
    end(queue, 1, token)
    broken.clear()
    queue.store.checkpoint()
    assert queue.submit([delay()]) == 5
    queue.close()


def test_a_loop_goes_on_while_submissions_wait_and_takes_them_in_order(held):
    reactor = Reactor(held.store)
    held.fill()
    answers = []

    def submit():
        decide = submit_one([delay()], Terms(1, 1000), None)
        reactor.begin_submission(decide, lambda result: answers.append(result.answer))

    for _ in range(3):
        submit()
    reactor.turn(0)
    assert answers == []
    held.store.room.max_unwritten = 100
    held.work.release()
    while len(answers) < 3:
        reactor.turn(LIMIT_S)
    assert answers == [7, 8, 9]
    reactor.close()
