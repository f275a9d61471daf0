"""What tests of the socket share."""

import threading

import pytest


@pytest.fixture
def until(monkeypatch):
    """Returns once the condition holds; it is looked at after each call of the method."""

    def wait_for(owner, name):
        called, call = threading.Event(), getattr(owner, name)

        def noted(*args, **kwargs):
            try:
                return call(*args, **kwargs)
            finally:
                called.set()

        monkeypatch.setattr(owner, name, noted)

        def wait(condition):
            while not condition():
                assert called.wait(30)
                called.clear()

        return wait

    return wait_for


@pytest.fixture
def until_seen():
    """Returns once the queue's owner has turned so often over what was sent to it before.

    Two turns are enough for a few peers: one accepts, one reads.
    """

    def wait(queue, turns=2):
        done = threading.Event()
        reactor = queue._owner.reactor

        def turn(left):
            # A timer runs at the end of the next turn, after what was readable at its beginning.
            reactor.call_later(0, done.set if left == 1 else lambda: turn(left - 1))

        reactor.call_threadsafe(lambda: turn(turns))
        assert done.wait(20)

    return wait
