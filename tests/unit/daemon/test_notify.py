"""What a service manager hears: over a real datagram socket, from a loop that turns, or doesn't."""

import contextlib
import os
import socket
import threading

import pytest

from jqueue.daemon.notify import Notifier
from jqueue.daemon.reactor import Reactor
from jqueue.store.memory import MemoryStore


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """The manager's socket, and what NOTIFY_SOCKET says of it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@jqueue-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        heard.settimeout(10)
        yield heard, name


def test_it_is_told_over_a_path_or_an_abstract_name_and_the_environment_is_clean(manager):
    heard, name = manager
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000000", "HOME": "/"}
    notifier = Notifier.take(environment)
    assert environment == {"HOME": "/"}
    assert notifier.watchdog_s == 1
    notifier.ready("3 queued")
    assert heard.recv(4096) == b"READY=1\nSTATUS=3 queued"
    notifier.say("3 queued")
    notifier.say("2 queued")
    assert heard.recv(4096) == b"STATUS=2 queued"
    notifier.stopping("stopping", 5)
    assert heard.recv(4096) == b"STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=65000000"
    notifier.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "1"},
        {"NOTIFY_SOCKET": "/nowhere/at/all"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "-1"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_manager_that_can_be_told_nothing_is_done_and_nothing_fails(environment):
    notifier = Notifier.take(environment)
    assert environment == {}
    assert notifier.watchdog_s is None
    notifier.ready("fine")
    notifier.close()


def test_the_watchdog_hears_nothing_while_the_loop_hangs(manager):
    heard, name = manager
    notifier = Notifier.take({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"})
    reactor = Reactor(MemoryStore())
    hangs, goes_on = threading.Event(), threading.Event()

    def hang():
        hangs.set()
        goes_on.wait(30)

    turning = threading.Thread(target=reactor.run)
    notifier.watch(reactor, lambda: "")
    turning.start()
    try:
        for _ in range(3):
            assert heard.recv(4096) == b"WATCHDOG=1"
        reactor.call_threadsafe(hang)
        assert hangs.wait(30)
        # A ping that was due while `hang` was on its way may be there already.
        heard.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            heard.recv(4096)
        # Five of its halves: long enough for it to be missed, if it came.
        heard.settimeout(0.25)
        with pytest.raises(TimeoutError):
            heard.recv(4096)
        goes_on.set()
        heard.settimeout(10)
        assert heard.recv(4096) == b"WATCHDOG=1"
    finally:
        goes_on.set()
        reactor.stop()
        turning.join(30)
        reactor.close()
        notifier.close()
