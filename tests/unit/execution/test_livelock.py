"""Livelocks: held by whoever inherits them, free when the last is gone, never named twice."""

import os
import select
import subprocess
import sys

import pytest

from jqueue.execution.burial import Burial
from jqueue.store import livelock, processes


@pytest.fixture
def queue_fd(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_held_until_released_and_names_differ(queue_fd):
    first, second = livelock.take(queue_fd, "worker"), livelock.take(queue_fd, "worker")
    assert first.name != second.name
    assert not livelock.is_free(queue_fd, first.name)
    assert livelock.is_free(queue_fd, first.name, inode=first.inode + 1)
    livelock.release(queue_fd, first)
    assert livelock.is_free(queue_fd, first.name)
    livelock.release(queue_fd, second)


def test_child_that_inherits_it_holds_it_on(queue_fd):
    held = livelock.take(queue_fd, "worker")
    child = subprocess.Popen(["sleep", "600"], pass_fds=[held.fd])
    os.close(held.fd)
    assert not livelock.is_free(queue_fd, held.name)
    child.kill()
    child.wait()
    livelock.waiter(queue_fd, held.name)()
    assert livelock.is_free(queue_fd, held.name)


def test_file_of_one_that_was_let_go_gets_a_new_name(queue_fd):
    old = livelock.take(queue_fd, "worker")
    os.close(old.fd)
    name = livelock.renew(queue_fd, "worker", old.name)
    assert livelock.is_free(queue_fd, name)
    new = livelock.take(queue_fd, "worker", renewed=name)
    assert (new.name, new.inode, new.name != old.name) == (name, old.inode, True)
    assert livelock.inode_of(queue_fd, old.name) is None
    assert livelock.is_free(queue_fd, old.name)
    assert not livelock.is_free(queue_fd, new.name, inode=new.inode)
    livelock.release(queue_fd, new)


def test_file_that_a_child_still_holds_is_not_used_again(queue_fd):
    old = livelock.take(queue_fd, "worker")
    child = subprocess.Popen(["sleep", "600"], pass_fds=[old.fd])
    os.close(old.fd)
    assert livelock.renew(queue_fd, "worker", old.name) is None
    assert livelock.inode_of(queue_fd, old.name) is None
    child.kill()
    child.wait()
    assert livelock.renew(queue_fd, "worker", old.name) is None


def test_renewed_one_that_somebody_cleaned_up_is_made_anew(queue_fd):
    old = livelock.take(queue_fd, "worker")
    os.close(old.fd)
    name = livelock.renew(queue_fd, "worker", old.name)
    assert livelock.remove_free(queue_fd) == [name]
    new = livelock.take(queue_fd, "worker", renewed=name)
    assert new.name != name
    assert not livelock.is_free(queue_fd, new.name, inode=new.inode)
    livelock.release(queue_fd, new)


def test_cleaning_up_spares_what_is_held_needed_or_not_ours(queue_fd, tmp_path):
    held = livelock.take(queue_fd, "worker")
    dead = livelock.take(queue_fd, "worker")
    needed = livelock.take(queue_fd, "claim")
    os.close(dead.fd)
    os.close(needed.fd)
    foreign = tmp_path / "livelocks" / "job_12_3"
    foreign.touch()
    assert livelock.remove_free(queue_fd, frozenset([needed.name])) == [dead.name]
    assert foreign.exists()
    assert livelock.inode_of(queue_fd, held.name) == held.inode
    assert livelock.holders(queue_fd, "worker") == {os.getpid()}
    os.close(held.fd)


@pytest.mark.parametrize(
    "name", ["../lock", "worker-1-zz", "", None, 5, "worker-1-" + "a" * 24 + "\n"]
)
def test_names_that_are_not_ours_are_never_opened(queue_fd, name):
    assert not livelock.is_name(name)


class FakeLoop:
    """Calls what became due when it is told to."""

    def __init__(self):
        self.watched, self.timers, self.soon = {}, [], []

    def watch(self, fd, call):
        self.watched[fd] = call

    def unwatch(self, fd):
        del self.watched[fd]

    def call_later(self, delay_s, call):
        self.timers.append(call)
        return self

    def cancel(self):
        self.timers.clear()

    def call_threadsafe(self, call):
        self.soon.append(call)


def session(script):
    child = subprocess.Popen(
        [sys.executable, "-c", script], start_new_session=True, stdout=subprocess.PIPE
    )
    child.stdout.readline()
    return child, processes.Identity.of(child.pid)


def test_burial_kills_all_of_a_session_and_waits_for_them():
    script = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '600'], process_group=0)\n"
        "print(flush=True)\n"
        "time.sleep(600)"
    )
    child, identity = session(script)
    assert len(processes.session_members(identity)) == 2
    loop, buried = FakeLoop(), []
    Burial(loop, -1, identity, None, lambda: buried.append(1))
    child.wait(30)
    while not buried:
        for fd, call in list(loop.watched.items()):
            if select.select([fd], [], [], 1)[0]:
                call()
                break
    assert processes.session_members(identity) == []
    child.stdout.close()


def test_recycled_pid_is_never_signaled():
    child, identity = session("print(flush=True); import time; time.sleep(600)")
    for other in (
        identity._replace(start_time=identity.start_time - 1),
        identity._replace(boot_id="another boot"),
    ):
        assert not other.is_alive()
        assert processes.session_members(other) == []
        buried = []
        Burial(FakeLoop(), -1, other, None, lambda: buried.append(1))  # noqa: B023 - called at once
        assert buried
    assert identity.is_alive()
    child.kill()
    child.wait()
    child.stdout.close()
    assert not identity.is_alive()


def test_identity_survives_its_record_and_refuses_nonsense():
    mine = processes.myself()
    assert processes.Identity.parse(mine.to_dict()) == mine
    for wrong in (None, 7, {}, {**mine.to_dict(), "pid": "7"}, {**mine.to_dict(), "sid": -1}):
        assert processes.Identity.parse(wrong) is None


def test_a_process_whose_session_leader_is_in_another_pid_namespace_has_an_identity():
    record = {**processes.myself().to_dict(), "sid": 0}
    outside = processes.Identity.parse(record)
    assert outside is not None
    assert outside.to_dict() == record
    assert processes.session_members(outside) == []
