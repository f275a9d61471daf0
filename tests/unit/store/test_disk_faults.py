"""The fake disk loses what a power cut may take, and nothing else; failures are what they say."""

import contextlib
import ctypes
import errno
import os
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jqueue.store.realdisk import RealDisk, make_root
from tests.fakes import Crash, FakeDisk, Faulty, every_crash, every_failure

LIMIT = 1 << 20


def after_power_cut(disk, limit=200):
    """Return the different trees that may be left."""
    return [state.tree() for state in disk.crash_states(random.Random(1), limit)]


def contents(disk, path, limit=200):
    """Return what may be left of one file, None if its name may be gone."""
    return {tree.get(path) for tree in after_power_cut(disk, limit)}


def durable_file(path, data):
    disk = FakeDisk()
    disk.create(path, data)
    disk.sync_all()
    return disk


def io_error():
    return OSError(errno.EIO, "Input/output error")


# Bytes and names after a power cut


def test_unsynced_file_may_vanish_be_empty_torn_zero_or_whole():
    disk = FakeDisk()
    disk.create("job-1", b"abcd")
    left = contents(disk, "job-1")
    assert {None, b"", b"ab", b"\0\0\0\0", b"abcd"} <= left
    assert any(data and data[:2] == b"ab" and set(data) - set(b"abcd\0") for data in left)


def test_synced_file_without_its_directory_may_lose_its_name_but_no_byte():
    disk = FakeDisk()
    disk.create("job-1", b"abcd")
    disk.sync_file("job-1")
    assert contents(disk, "job-1") == {None, b"abcd"}


def test_synced_directory_without_its_file_keeps_the_name_but_no_byte():
    disk = FakeDisk()
    disk.create("job-1", b"abcd")
    disk.sync_dir()
    assert None not in contents(disk, "job-1")
    assert b"" in contents(disk, "job-1")


def test_file_and_directory_synced_is_durable():
    disk = FakeDisk()
    disk.create("job-1", b"abcd")
    disk.sync_file("job-1")
    disk.sync_dir()
    assert after_power_cut(disk) == [{"job-1": b"abcd"}]


def test_new_directory_may_vanish_with_all_that_was_synced_in_it():
    disk = FakeDisk()
    disk.mkdir("archive")
    disk.create("archive/job-1", b"1")
    disk.sync_file("archive/job-1")
    disk.sync_dir("archive")
    assert sorted(map(str, after_power_cut(disk))) == sorted(
        ["{}", str({"archive": None, "archive/job-1": b"1"})]
    )
    disk.sync_dir()
    assert after_power_cut(disk) == [{"archive": None, "archive/job-1": b"1"}]


def test_unsynced_append_never_harms_what_was_synced():
    disk = durable_file("journal", b"synced ")
    file = disk.append("journal")
    file.write(b"new")
    left = contents(disk, "journal")
    assert all(data.startswith(b"synced ") for data in left)
    assert {b"synced ", b"synced n", b"synced new", b"synced \0\0\0"} <= left
    file.sync()
    assert contents(disk, "journal") == {b"synced new"}


def test_a_later_record_may_survive_an_earlier_one_of_the_same_batch():
    disk = durable_file("journal", b"")
    file = disk.append("journal")
    file.write(b"aa")
    file.write(b"bb")
    assert b"\0\0bb" in contents(disk, "journal")


def test_unsynced_overwrite_may_be_torn_between_old_and_new():
    disk = durable_file("watermark", b"1111")
    disk.overwrite("watermark", b"2222")
    assert {b"1111", b"2211", b"2222"} <= contents(disk, "watermark")
    disk.sync_file("watermark")
    assert contents(disk, "watermark") == {b"2222"}


def test_replaced_file_is_old_new_or_unsynced_but_its_name_stays():
    disk = durable_file("job-1", b"old")
    disk.write_file("job-1", b"new", new=False)
    assert {b"old", b"new", b""} <= contents(disk, "job-1")
    assert None not in contents(disk, "job-1")


def test_replace_synced_before_the_rename_is_old_or_new():
    disk = durable_file("job-1", b"old")
    disk.create(".tmp", b"new")
    disk.sync_file(".tmp")
    disk.replace(".tmp", "job-1")
    assert contents(disk, "job-1") == {b"old", b"new"}


def test_rename_between_directories_is_there_as_a_whole_or_not():
    disk = FakeDisk()
    disk.mkdir("archive")
    disk.create("job-1", b"1")
    disk.sync_all()
    disk.rename("job-1", "archive/job-1")
    here, there = {"archive": None, "job-1": b"1"}, {"archive": None, "archive/job-1": b"1"}
    for synced in (None, "archive", ""):
        if synced is not None:
            disk.sync_dir(synced)
        left = after_power_cut(disk)
        assert left in ([there], [here, there], [there, here])
        assert (left == [there]) == (synced == "")


def test_operations_on_different_names_may_survive_in_any_order():
    disk = FakeDisk()
    disk.create("a", b"")
    disk.create("b", b"")
    assert {frozenset(tree) for tree in after_power_cut(disk)} == {
        frozenset(names) for names in ("", "a", "b", "ab")
    }


def test_operations_on_one_name_keep_their_order():
    disk = FakeDisk()
    disk.create("a", b"")
    disk.rename("a", "b")
    disk.unlink("b")
    assert {frozenset(tree) for tree in after_power_cut(disk)} == {
        frozenset(names) for names in ("", "a", "b")
    }
    disk.create("b", b"")
    disk.sync_dir()
    assert after_power_cut(disk) == [{"b": b""}]


def test_an_unlink_that_happened_proves_the_exchange_before_it():
    disk = durable_file("job-1", b"old")
    disk.create(".tmp", b"new")
    disk.sync_all()
    disk.replace(".tmp", "job-1")
    left = after_power_cut(disk)
    assert len(left) == 3
    assert {"job-1": b"old", ".tmp": b"new"} in left
    assert {"job-1": b"new", ".tmp": b"old"} in left
    assert {"job-1": b"new"} in left


def test_unlink_without_a_sync_may_bring_the_file_back():
    disk = durable_file("job-1", b"1")
    disk.unlink("job-1")
    assert contents(disk, "job-1") == {None, b"1"}
    disk.sync_dir()
    assert contents(disk, "job-1") == {None}


def test_a_cut_that_was_not_synced_may_come_undone():
    disk = durable_file("journal", b"good")
    file = disk.append("journal")
    file.write(b" torn")
    disk.sync_file("journal")
    file.size = 4

    def crash(name, _):
        if name == "sync":
            raise Crash

    disk.on_call = crash
    with pytest.raises(Crash):
        file.cut()
    assert contents(disk, "journal") == {b"good", b"good torn"}


def test_syncing_one_file_makes_no_other_durable():
    disk = FakeDisk()
    disk.create("a", b"1")
    disk.create("b", b"2")
    disk.sync_dir()
    disk.sync_file("a")
    assert contents(disk, "a") == {b"1"}
    assert b"" in contents(disk, "b")


def test_what_is_written_while_a_sync_runs_is_not_covered_by_it():
    disk = durable_file("journal", b"")
    file = disk.append("journal")
    file.write(b"one")

    def write_meanwhile(name, path):
        if name == "sync":
            disk.on_call = None
            file.write(b"two")
            disk.create("late", b"")

    disk.on_call = write_meanwhile
    file.sync()
    assert {b"one", b"onetwo"} <= contents(disk, "journal")
    assert all(data.startswith(b"one") for data in contents(disk, "journal"))
    file.sync()
    assert contents(disk, "journal") == {b"onetwo"}


def test_a_name_made_while_a_directory_sync_runs_is_not_covered_by_it():
    disk = FakeDisk()

    def create_meanwhile(name, path):
        if name == "sync_dir":
            disk.on_call = None
            disk.create("late", b"")

    disk.on_call = create_meanwhile
    disk.sync_dir()
    assert None in contents(disk, "late")


def test_a_blocked_sync_lets_other_threads_write():
    disk = durable_file("journal", b"")
    file = disk.append("journal")
    started, go_on = threading.Event(), threading.Event()

    def block(name, _):
        if name == "sync":
            started.set()
            assert go_on.wait(10)

    disk.on_call = block
    syncing = threading.Thread(target=file.sync)
    syncing.start()
    assert started.wait(10)
    file.write(b"meanwhile")
    go_on.set()
    syncing.join()
    assert disk.read("journal", LIMIT) == b"meanwhile"


# Failed syncs


@pytest.mark.parametrize("how", ["append", "file", "all"])
def test_a_failed_sync_makes_nothing_durable_and_a_later_one_lies(how):
    disk = durable_file("journal", b"old ")
    file = disk.append("journal")
    file.write(b"lost")

    def fail(name, _):
        if name.startswith("sync"):
            raise io_error()

    disk.on_call = fail
    sync = {"append": file.sync, "file": lambda: disk.sync_file("journal"), "all": disk.sync_all}
    with pytest.raises(OSError, match="Input/output"):
        sync[how]()
    disk.on_call = None
    if how == "append":
        with pytest.raises(OSError, match="earlier sync"):
            file.sync()
    disk.sync_file("journal")
    disk.sync_all()
    assert disk.read("journal", LIMIT) == b"old lost"
    assert b"old " in contents(disk, "journal")

    again = disk.append("journal")
    again.write(b" more")
    again.sync()
    assert b"old \0\0\0\0 more" in contents(disk, "journal")
    disk.overwrite("journal", b"old lost more")
    disk.sync_file("journal")
    assert contents(disk, "journal") == {b"old lost more"}


def test_a_failed_directory_sync_is_not_healed_by_the_next():
    disk = durable_file("a", b"")
    disk.create("b", b"")

    def fail(name, _):
        if name == "sync_dir":
            raise io_error()

    disk.on_call = fail
    with pytest.raises(OSError, match="Input/output"):
        disk.sync_dir()
    disk.on_call = None
    disk.sync_dir()
    disk.sync_all()
    assert contents(disk, "b") == {None, b""}
    disk.write_file("b", b"", new=False)
    disk.sync_dir()
    assert None not in contents(disk, "b")


def test_poison_outlives_the_process():
    disk = durable_file("journal", b"")
    file = disk.append("journal")
    file.write(b"x")
    disk.poison_file("journal")
    reborn = disk.kill_state()
    reborn.sync_file("journal")
    assert b"" in contents(reborn, "journal")


def test_a_failed_cut_is_a_failed_sync():
    disk = FakeDisk()
    file = disk.append("journal", create=True)
    disk.on_call = lambda *_: (_ for _ in ()).throw(io_error())
    with pytest.raises(OSError, match="Input/output"):
        file.write(b"x")
    with pytest.raises(OSError, match="Input/output"):
        file.cut()


def test_a_cut_whose_sync_failed_is_undone_for_ever_unless_written_over():
    disk = durable_file("journal", b"good torn")
    disk.append("journal").write(b"!")

    def fail(name, _):
        if name == "sync":
            raise io_error()

    file = disk.append("journal")
    file.size = 4
    disk.on_call = fail
    with pytest.raises(OSError, match="Input/output"):
        file.cut()
    disk.on_call = None
    disk.sync_file("journal")
    assert {b"good", b"good torn"} <= contents(disk, "journal")
    again = disk.append("journal")
    again.write(b"+")
    again.sync()
    assert contents(disk, "journal") == {b"good+"}


@pytest.mark.parametrize("when", ["sync", "cut"])
def test_the_real_append_file_never_trusts_a_sync_after_a_failed_one(tmp_path, monkeypatch, when):
    with RealDisk(tmp_path) as disk, contextlib.closing(disk.append("j", create=True)) as file:
        file.write(b"x")

        def fail(_):
            raise io_error()

        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output"):
            getattr(file, when)()
        monkeypatch.undo()
        with pytest.raises(OSError, match="earlier sync"):
            file.sync()
        with pytest.raises(OSError, match="earlier sync"):
            file.cut()


# Kills


def test_a_kill_takes_nothing_and_makes_nothing_durable():
    disk = FakeDisk()
    disk.create("job-1", b"1")
    killed = disk.kill_state()
    assert killed.tree() == {"job-1": b"1"}
    assert None in contents(killed, "job-1")
    assert disk.kill_state(1).kill_state(0).tree() == {"job-1": b"1"}


def test_a_kill_may_cut_the_last_write_short():
    disk = FakeDisk()
    file = disk.append("journal", create=True)
    file.write(b"one")
    file.write(b"two")
    assert [disk.kill_state(n).tree()["journal"] for n in (0, 2, 3, 9)] == [
        b"one",
        b"onetw",
        b"onetwo",
        b"onetwo",
    ]
    disk.overwrite("journal", b"XYZabc")
    assert disk.kill_state(2).tree()["journal"] == b"XYetwo"
    file.sync()
    assert disk.kill_state(2).tree()["journal"] == b"XYZabc"


def test_a_clone_shares_nothing():
    disk = durable_file("a", b"1")
    disk.create("b", b"2")
    twin = disk.clone()
    disk.overwrite("a", b"9")
    disk.sync_all()
    twin.unlink("b")
    assert disk.tree() == {"a": b"9", "b": b"2"}
    assert twin.tree() == {"a": b"1"}
    assert contents(twin, "b") >= {None, b"2"}
    assert contents(disk, "b") == {b"2"}


def test_after_a_crash_the_program_is_dead_in_all_its_threads():
    disk = FakeDisk()
    file = disk.append("journal", create=True)

    def crash(*_):
        raise Crash

    disk.on_call = crash
    with pytest.raises(Crash):
        disk.create("a", b"")
    disk.on_call = None
    for call in (
        lambda: disk.read("journal", 1),
        disk.names,
        lambda: disk.create("b", b""),
        lambda: file.write(b"x"),
        file.sync,
        disk.sync_all,
    ):
        with pytest.raises(Crash):
            call()
    assert disk.tree() == {"journal": b""}
    assert disk.kill_state().names() == ["journal"]


def test_every_crash_stops_before_each_step_once():
    steps = []
    for disk in every_crash():
        with contextlib.suppress(Crash):
            disk.write_file("job-1", b"1", new=True)
            disk.write_file("job-1", b"2", new=False)
            disk.sync_all()
        steps.append([name for name, _ in disk.calls][-1])
    first = ["create", "write", "rename_new"]
    second = ["create", "write", "exchange", "unlink"]
    assert steps == [*first, *second, "sync_all", "sync_all"]


def test_a_crash_between_exchange_and_unlink_leaves_old_and_new():
    for disk in every_crash(lambda: durable_file("job-1", b"old")):
        with contextlib.suppress(Crash):
            disk.write_file("job-1", b"new", new=False)
        if disk.crashed and disk.calls[-1][0] == "unlink":
            assert sorted(disk.tree().values()) == [b"new", b"old"]
            assert disk.tree()["job-1"] == b"new"
            return
    pytest.fail("there was no such step")


# The full disk


def test_a_full_disk_takes_what_fits_and_says_so():
    disk = FakeDisk(capacity=10)
    file = disk.append("journal", create=True)
    file.write(b"12345678")
    with pytest.raises(OSError, match="No space left"):
        file.write(b"abcd")
    assert disk.tree() == {"journal": b"12345678ab"}
    file.cut()
    with pytest.raises(OSError, match="No space left"):
        disk.create("job-1", b"abcd")
    with pytest.raises(OSError, match="No space left"):
        disk.allocate("reserve", 3)
    assert disk.tree() == {"journal": b"12345678"}
    disk.allocate("reserve", 2)
    disk.unlink("reserve")
    disk.create("job-1", b"ab")


# The wrapper that fails any call of any disk


@pytest.fixture(params=["real", "fake"])
def make(request, tmp_path):
    made = []

    def make():
        if request.param == "fake":
            return FakeDisk()
        path = tmp_path / str(len(made))
        path.mkdir()
        made.append(RealDisk(path))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_call_of_write_file_leaves_the_old_file_and_no_other(make, number):
    def make_old():
        disk = make()
        disk.create("job-1", b"old")
        return disk

    outcomes = []
    for faulty in every_failure(make_old, lambda: OSError(number, os.strerror(number))):
        with contextlib.suppress(OSError):
            faulty.write_file("job-1", b"new", new=False)
        outcomes.append({name: faulty.disk.read(name, LIMIT) for name in faulty.disk.names()})
    assert outcomes == [{"job-1": b"old"}, {"job-1": b"old"}, {"job-1": b"new"}]


def test_a_short_write_lands_behind_the_good_end_and_is_cut(make):
    for faulty in every_failure(make, io_error, short=lambda *_: 2):
        with contextlib.suppress(OSError):
            file = faulty.append("journal", create=True)
            with contextlib.closing(file):
                file.write(b"good")
                try:
                    file.write(b"more")
                except OSError:
                    assert file.size == 4
                    assert faulty.disk.read("journal", LIMIT) == b"goodmo"
                    with pytest.raises(AssertionError):
                        file.write(b"x")
                    file.cut()
                    assert faulty.disk.read("journal", LIMIT) == b"good"
                    file.write(b"more")
                assert faulty.disk.read("journal", LIMIT) == b"goodmore"
    assert [name for name, _ in faulty.calls] == ["append", "write", "write"]


def test_a_crash_in_a_create_leaves_part_of_the_file(make):
    faulty = Faulty(make(), lambda n, *_: Crash() if n == 0 else None, lambda *_: 2)
    with pytest.raises(Crash):
        faulty.create("job-1", b"1234")
    with pytest.raises(Crash):
        faulty.names()
    assert faulty.disk.read("job-1", LIMIT) == b"12"


def test_a_failed_sync_through_the_wrapper_poisons_the_fake_disk():
    disk = durable_file("journal", b"")
    disk.create("job-1", b"1")
    failing = {"sync", "sync_file", "sync_dir"}
    faulty = Faulty(disk, lambda _, name, __: io_error() if name in failing else None)
    file = faulty.append("journal")
    file.write(b"x")
    for call in (file.sync, lambda: faulty.sync_file("job-1"), faulty.sync_dir):
        with pytest.raises(OSError, match="Input/output"):
            call()
    failing.clear()
    with pytest.raises(OSError, match="earlier sync"):
        file.sync()
    disk.sync_all()
    assert b"" in contents(disk, "journal")
    assert {None, b""} <= contents(disk, "job-1")


def test_a_sync_after_a_failed_one_fails_through_the_wrapper_too(make):
    faulty = Faulty(make(), lambda n, *_: io_error() if n == 1 else None)
    with contextlib.closing(faulty.append("journal", create=True)) as file:
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        with pytest.raises(OSError, match="earlier sync"):
            file.sync()


def test_every_call_of_the_interface_can_fail(make):
    def everything(disk):
        disk.mkdir("d")
        disk.create("a", b"1")
        disk.overwrite("w", b"2")
        disk.allocate("r", 3)
        disk.rename("a", "b")
        disk.rename_new("b", "d/c")
        disk.replace("d/c", "w")
        disk.read("w", 9)
        disk.read_range("w", 0, 1)
        disk.size("w")
        disk.mtime_ns("w")
        disk.exists("w")
        disk.is_dir("w")
        disk.names()
        disk.sync_file("w")
        disk.sync_dir("d")
        disk.sync_all()
        with contextlib.closing(disk.append("w")) as file:
            file.write(b"1")
            file.sync()
            file.cut()
        disk.unlink("w")

    failed = []
    for faulty in every_failure(make):
        try:
            everything(faulty)
        except OSError as error:
            assert error.errno == errno.EIO  # noqa: PT017 - the loop's last run raises nothing
            failed.append(faulty.calls[-1][0])
    assert len(failed) == len(set(failed)) == 22
    assert failed == [name for name, _ in faulty.calls]


# The real disk, when the kernel does less than asked


@given(data=st.binary(max_size=200), pieces=st.lists(st.integers(1, 50), min_size=1))
def test_short_writes_and_reads_are_continued(tmp_path_factory, data, pieces):
    pwrite, read, pread = os.pwrite, os.read, os.pread
    turn = iter(pieces * 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", lambda fd, part, at: pwrite(fd, part[: next(turn)], at))
        patch.setattr(os, "read", lambda fd, size: read(fd, min(size, next(turn))))
        patch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, next(turn)), at))
        with RealDisk(tmp_path_factory.mktemp("disk")) as disk:
            disk.write_file("job-1", data, new=True)
            disk.overwrite("watermark", data)
            with contextlib.closing(disk.append("journal", create=True)) as file:
                file.write(data)
                file.write(data)
            assert disk.read("job-1", 200) == data
            assert disk.read("watermark", 200) == data
            assert disk.read("journal", 400) == data + data
            assert disk.read_range("journal", 0, 400) == data + data


def test_each_sync_reaches_the_file_or_directory_it_names(tmp_path, monkeypatch):
    synced = []

    class Libc:
        @staticmethod
        def syncfs(fd):
            synced.append(("syncfs", os.fstat(fd).st_ino))
            return 0

    def note(name):
        return lambda fd: synced.append((name, os.fstat(fd).st_ino))

    with RealDisk(tmp_path) as disk:
        disk.mkdir("archive")
        disk.create("archive/job-1", b"")
        monkeypatch.setattr(os, "fdatasync", note("fdatasync"))
        monkeypatch.setattr(os, "fsync", note("fsync"))
        monkeypatch.setattr("jqueue.store.syscalls._libc", Libc)
        disk.sync_file("archive/job-1")
        disk.sync_dir("archive")
        disk.sync_dir()
        disk.sync_all()
        with contextlib.closing(disk.append("archive/job-1")) as file:
            file.sync()
            file.cut()
        job, archive = (tmp_path / "archive" / "job-1").stat(), (tmp_path / "archive").stat()
    assert synced == [
        ("fdatasync", job.st_ino),
        ("fsync", archive.st_ino),
        ("fsync", tmp_path.stat().st_ino),
        ("syncfs", tmp_path.stat().st_ino),
        ("fdatasync", job.st_ino),
        ("fdatasync", job.st_ino),
    ]


def test_an_interrupted_syncfs_is_repeated_and_a_failed_one_raises(tmp_path, monkeypatch):
    outcomes = [errno.EINTR, errno.EINTR, errno.EIO]

    class Libc:
        @staticmethod
        def syncfs(_):
            ctypes.set_errno(outcomes.pop(0))
            return -1

    monkeypatch.setattr("jqueue.store.syscalls._libc", Libc)
    with RealDisk(tmp_path) as disk, pytest.raises(OSError, match="Input/output"):
        disk.sync_all()
    assert outcomes == []


def test_the_root_is_made_durable_in_its_parent(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_ino))
    root = tmp_path / "a" / "b"
    made = [tmp_path.stat().st_ino]
    for _ in range(2):  # whoever made it first may have been killed before the sync
        make_root(root)
        made[1:] = [(tmp_path / "a").stat().st_ino]
        assert synced[-2:] == made
        synced.clear()
    (root / "journal").mkdir()
    make_root(root)
    assert synced == []


def test_a_create_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def fail(*_):
        raise io_error()

    with RealDisk(tmp_path) as disk:
        monkeypatch.setattr(os, "pwrite", fail)
        with pytest.raises(OSError, match="Input/output"):
            disk.write_file("job-1", b"1", new=True)
        monkeypatch.undo()
        assert disk.names() == []


def test_a_file_that_grows_while_it_is_read_stays_under_the_limit(tmp_path, monkeypatch):
    with RealDisk(tmp_path) as disk:
        disk.create("job-1", b"1234")
        fstat = os.fstat

        def grow(fd):
            status = fstat(fd)
            monkeypatch.undo()
            (tmp_path / "job-1").write_bytes(b"12345")
            return status

        monkeypatch.setattr(os, "fstat", grow)
        with pytest.raises(OSError, match="longer than 4"):
            disk.read("job-1", 4)


def test_threads_that_list_one_directory_each_see_all_of_it(tmp_path):
    with RealDisk(tmp_path) as disk:
        disk.mkdir("archive")
        for number in range(300):
            disk.create(f"archive/job-{number}", b"")
        counts = []

        def list_often():
            counts.extend(len(disk.names("archive")) for _ in range(50))

        threads = [threading.Thread(target=list_often) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(counts) == {300}


def test_threads_that_evict_each_others_directories_write_to_the_right_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("jqueue.store.realdisk.MAX_OPEN_DIRECTORIES", 2)
    with RealDisk(tmp_path) as disk:
        for number in range(8):
            disk.mkdir(str(number))

        def write(thread):
            for turn in range(200):
                directory = (thread + turn) % 8
                disk.create(f"{directory}/{directory}-{thread}-{turn}", b"")

        threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [(d, name) for d in disk.names() for name in disk.names(d)]
        assert len(found) == 800
        assert all(name.startswith(d + "-") for d, name in found)
