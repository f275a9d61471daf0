"""The daemon's loop: what is far away, and what other threads ask of it."""

import pytest

from jqueue.daemon.reactor import Reactor
from jqueue.store.memory import MemoryStore


@pytest.fixture
def reactor():
    made = Reactor(MemoryStore())
    yield made
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
