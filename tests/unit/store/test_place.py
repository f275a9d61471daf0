"""Where a queue may be, and who else may write there."""

import os
from pathlib import Path

import pytest

from jqueue.errors import QueueFailed
from jqueue.store import place
from jqueue.store.directory import DirectoryStore
from jqueue.store.place import filesystem_warning, ownership_warning


def test_places_are_judged(tmp_path, monkeypatch):
    assert filesystem_warning("/proc").answer == "warn"
    for kind, options, answer, strictly in [
        ("ext4", "rw", "ok", "ok"),
        ("ext4", "rw,data=writeback", "warn", "warn"),
        ("nfs4", "rw", "refuse", "refuse"),
        ("fuse.sshfs", "rw", "refuse", "refuse"),
        ("9p", "rw", "refuse", "refuse"),
        ("tmpfs", "rw", "warn", "refuse"),
        ("overlay", "rw", "warn", "warn"),
        ("overlay", "rw,volatile", "warn", "refuse"),
        ("strangefs", "rw", "warn", "warn"),
    ]:
        found = (kind, frozenset(options.split(",")))
        monkeypatch.setattr(place, "_mount_of", lambda _, found=found: found)
        assert filesystem_warning(tmp_path).answer == answer
        assert filesystem_warning(tmp_path, strict=True).answer == strictly


def test_the_mount_of_a_path_is_found():
    assert place._mount_of("/proc")[0] == "proc"
    assert "rw" in place._mount_of(Path("/proc"))[1]


@pytest.mark.parametrize(
    ("mode", "answer"), [(0o700, "ok"), (0o750, "ok"), (0o770, "warn"), (0o777, "refuse")]
)
def test_directories_that_others_can_write_are_named(tmp_path, mode, answer):
    tmp_path.chmod(mode)
    assert ownership_warning(tmp_path).answer == answer


@pytest.mark.damages
def test_r27_a_queue_that_others_can_write_to_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "queue"
    DirectoryStore.open(path).close()
    path.chmod(0o777)
    before = sorted(path.rglob("*"))
    with pytest.raises(QueueFailed, match=r"writable by everybody.*nothing was changed"):
        DirectoryStore.open(path)
    assert sorted(path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_r27_a_queue_of_another_user_is_refused(tmp_path):
    path = tmp_path / "queue"
    DirectoryStore.open(path).close()
    os.chown(path, 12345, 12345)
    with pytest.raises(QueueFailed, match="belongs to user 12345"):
        DirectoryStore.open(path)
    os.chown(path, 0, 0)
