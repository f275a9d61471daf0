import threading

import pytest

from jqueue.errors import JobNotFound, QueueFailed, WaitTimeout
from tests.unit.queue.making import begin, delay, end, new_queue, run


def waiting(queue, job, count=1):
    """Start threads that wait for a job; returns them once they really wait, and their results."""
    results = []

    def wait():
        try:
            results.append(queue.wait(job, 60))
        except Exception as error:  # noqa: BLE001  # handed to the test
            results.append(error)

    entered = threading.Semaphore(0)
    ready = queue.waiters._enter

    def enter(job):
        gate = ready(job)
        entered.release()
        return gate

    queue.waiters._enter = enter
    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=10)
    return threads, results


def joined(threads):
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_all_who_wait_are_woken_by_the_end():
    queue = new_queue()
    queue.submit([delay(), delay()])
    threads, results = waiting(queue, 1, count=3)
    run(queue, 1)
    assert results == []
    run(queue, 1, 1)
    joined(threads)
    assert [job.status for job in results] == ["success"] * 3


def test_a_finished_job_is_returned_at_once_archived_or_not():
    queue = new_queue()
    queue.submit([delay()])
    queue.cancel(1)
    assert queue.wait(1, 0).status == "canceled"
    queue.archive(1)
    assert queue.wait(1).archived


def test_waiting_in_vain_ends_with_the_timeout():
    queue = new_queue()
    queue.submit([delay()])
    for timeout in (0, -1, 0.01):
        with pytest.raises(WaitTimeout) as caught:
            queue.wait(1, timeout)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.timeout_s == timeout
    with pytest.raises(JobNotFound):
        queue.wait(9)


def test_an_end_between_the_look_and_the_wait_is_not_missed():
    queue = new_queue()
    queue.submit([delay()])
    token = begin(queue, 1)
    subscribe = queue.store.subscribe

    def finish_then_subscribe(watcher):
        end(queue, 1, token)
        return subscribe(watcher)

    queue.waiters._store = type("Store", (), {"subscribe": staticmethod(finish_then_subscribe)})
    assert queue.wait(1, 10).status == "success"


def test_closing_the_queue_wakes_who_waits():
    queue = new_queue()
    queue.submit([delay()])
    threads, results = waiting(queue, 1)
    queue.close()
    joined(threads)
    assert isinstance(results[0], QueueFailed)
    with pytest.raises(QueueFailed):
        queue.wait(1, 10)


def test_nobody_watches_the_commits_when_nobody_waits():
    queue = new_queue()
    queue.submit([delay()])
    threads, _ = waiting(queue, 1)
    assert len(queue.store.ledger._watchers) == 1
    queue.cancel(1)
    joined(threads)
    assert queue.store.ledger._watchers == []
    assert queue.waiters._gates == {}


def test_a_limit_beyond_what_a_clock_can_hold_is_no_limit():
    # threading refuses to wait longer than some hundred years, with an OverflowError.
    queue = new_queue()
    job = queue.submit([delay()])
    results = []
    thread = threading.Thread(target=lambda: results.append(queue.wait(job, 1e30).status))
    thread.start()
    run(queue, job)
    joined([thread])
    assert results == ["success"]
