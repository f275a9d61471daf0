"""Whether a queue has an owner is seen from outside, in another pid namespace too."""

import os
import subprocess
import sys

import pytest

from jqueue.store import lock
from jqueue.store.directory import DirectoryStore
from jqueue.store.lock import is_owned, read_owner


def test_an_owner_is_seen_and_its_end_is(tmp_path):
    assert not is_owned(tmp_path)
    store = DirectoryStore.open(tmp_path)
    assert is_owned(tmp_path)
    store.close()
    assert not is_owned(tmp_path)


def test_an_owner_that_proc_locks_does_not_show_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_is_locked", lambda _: False)
    store = DirectoryStore.open(tmp_path)
    assert is_owned(tmp_path)
    store.close()
    assert not is_owned(tmp_path)


def test_where_leases_can_not_tell_proc_locks_does(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_is_open_to_write", lambda _: False)
    store = DirectoryStore.open(tmp_path)
    assert is_owned(tmp_path)
    store.close()
    assert not is_owned(tmp_path)


def test_an_owner_in_another_pid_namespace_is_seen(tmp_path):
    store = DirectoryStore.open(tmp_path)
    look = (
        "from pathlib import Path; from jqueue.store.lock import is_owned;"
        f" print(is_owned(Path({str(tmp_path)!r})))"
    )
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    command = [*apart, sys.executable, "-c", look]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    finally:
        store.close()
    if done.returncode:
        pytest.skip(f"no namespaces: {done.stderr}")
    assert done.stdout == "True\n"


@pytest.mark.damages
def test_a_note_of_the_owner_that_is_a_pipe_stops_nobody(tmp_path):
    """Reading it waited for a writer, for ever."""
    os.mkfifo(tmp_path / "owner")
    assert read_owner(tmp_path) is None
