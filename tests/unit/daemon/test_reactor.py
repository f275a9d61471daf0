"""The daemon's loop: what is far away, what other threads ask of it, what shares a sync."""

import os
import signal
import threading

import pytest

from jqueue.daemon.reactor import Reactor
from jqueue.job.change import SerialSet
from jqueue.store.memory import MemoryStore
from jqueue.store.protocol import Transaction, new_transaction_id


@pytest.fixture
def reactor():
    made = Reactor(MemoryStore())
    yield made
    if not made._closed:
        made.close()


# epoll takes a C int of milliseconds: beyond 24 days it raised, and the daemon was gone.
@pytest.mark.parametrize("delay_s", [3e6, 1e12, 1e30])
def test_a_timer_may_be_farther_away_than_the_kernel_can_wait(reactor, delay_s):
    called = []
    reactor.call_later(delay_s, lambda: called.append("far"))
    reactor.call_threadsafe(lambda: called.append("soon"))
    reactor.turn()
    reactor.turn(timeout_s=0)
    assert called == ["soon"]


def test_signals_go_where_they_went_before(reactor):
    def mine(*_):
        pass

    before = signal.signal(signal.SIGUSR1, mine)
    try:
        called = []
        reactor.on_signal(signal.SIGUSR1, lambda: called.append(1))
        signal.raise_signal(signal.SIGUSR1)
        reactor.turn(timeout_s=5)
        assert called == [1]
        reactor.close()
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_comes_while_an_event_is_dealt_with_shares_its_sync(reactor, monkeypatch):
    syncs = []
    flush = reactor.store.flush
    monkeypatch.setattr(reactor.store, "flush", lambda **_: (syncs.append(None), flush()))
    ends = [os.pipe() for _ in range(3)]
    done = []

    def serial(value):
        return lambda _layer: Transaction(new_transaction_id(), (SerialSet(value),))

    def heard(at):
        os.read(ends[at][0], 1)
        reactor.begin(serial(at + 1), lambda result: done.append(result.lsn))
        if at + 1 < len(ends):
            # As a worker answers while the loop is at another's message.
            os.write(ends[at + 1][1], b"x")

    for at, (read, _) in enumerate(ends):
        reactor.watch(read, lambda at=at: heard(at))
    os.write(ends[0][1], b"x")
    reactor.turn(timeout_s=0)
    assert done == [1, 2, 3]
    assert len(syncs) == 1
    for pair in ends:
        for fd in pair:
            os.close(fd)


def test_a_peer_that_never_rests_does_not_keep_the_others_from_their_sync(reactor):
    read, write = os.pipe()
    done = []

    def heard():
        # Not read: it is ready for ever.
        reactor.begin(
            lambda _layer: Transaction(new_transaction_id(), (SerialSet(1),)),
            lambda result: done.append(result.lsn),
        )

    reactor.watch(read, heard)
    os.write(write, b"x")
    reactor.turn(timeout_s=0)
    assert done
    os.close(read)
    os.close(write)


def test_no_wake_is_lost_to_one_that_comes_while_wakes_are_read(reactor, monkeypatch):
    called = []

    def from_another_thread(name):
        other = threading.Thread(
            target=reactor.call_threadsafe, args=(lambda: called.append(name),)
        )
        other.start()
        other.join()

    read = os.read

    def read_late(fd, size):
        monkeypatch.setattr(os, "read", read)
        from_another_thread("second")
        return read(fd, size)

    from_another_thread("first")
    monkeypatch.setattr(os, "read", read_late)
    reactor.turn(timeout_s=0)
    assert called == ["first", "second"]
    from_another_thread("third")
    # Asked of the kernel, as a loop that waits is woken.
    assert reactor._poll.poll(0)
