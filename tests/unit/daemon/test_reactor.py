"""The daemon's loop: what is far away, and what other threads ask of it."""

import signal

import pytest

from jqueue.daemon.reactor import Reactor
from jqueue.store.memory import MemoryStore


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
