"""The real disk and the fake one do the same, so that what is proved on the fake holds."""

import contextlib
import errno
import mmap
import os
import shutil
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jqueue.store import realdisk as disk_module
from jqueue.store.disk import TEMP_NAME, FileTooLarge, NotRegular
from jqueue.store.realdisk import RealDisk, make_root
from jqueue.store.rewriting import Rewriter
from tests.fakes import FakeDisk

LIMIT = 1 << 20


@pytest.fixture(params=["real", "fake"])
def disk(request, tmp_path):
    disk = RealDisk(tmp_path) if request.param == "real" else FakeDisk()
    with contextlib.closing(disk):
        yield disk


def tree(disk, path=""):
    """Return every path with its content, None for a directory."""
    found = {}
    for name in disk.names(path):
        child = f"{path}/{name}" if path else name
        if disk.is_dir(child):
            found |= {child: None, **tree(disk, child)}
        else:
            found[child] = disk.read(child, LIMIT)
    return found


def test_created_file_holds_its_data(disk):
    disk.create("job-1", b"one")
    assert disk.read("job-1", 3) == b"one"
    assert disk.size("job-1") == 3
    assert disk.mtime_ns("job-1") > 1_600_000_000 * 10**9


def test_create_never_touches_an_existing_file(disk):
    disk.create("job-1", b"one")
    with pytest.raises(FileExistsError):
        disk.create("job-1", b"two")
    assert tree(disk) == {"job-1": b"one"}


def test_read_refuses_a_file_over_the_limit(disk):
    disk.create("job-1", b"12345")
    with pytest.raises(FileTooLarge):
        disk.read("job-1", 4)
    assert disk.read("job-1", 5) == b"12345"


def test_empty_file_is_read_whole(disk):
    disk.create("drain", b"")
    assert disk.read("drain", 0) == b""


def test_read_range_ends_with_the_file(disk):
    disk.create("journal", b"0123456789")
    assert disk.read_range("journal", 3, 4) == b"3456"
    assert disk.read_range("journal", 8, 4) == b"89"
    assert disk.read_range("journal", 20, 4) == b""


def test_directory_is_not_a_regular_file(disk):
    disk.mkdir("journal")
    for call in (
        lambda: disk.read("journal", 1),
        lambda: disk.read_range("journal", 0, 1),
        lambda: disk.append("journal"),
        lambda: disk.overwrite("journal", b""),
        lambda: disk.sync_file("journal"),
    ):
        with pytest.raises(NotRegular):
            call()
    assert disk.is_dir("journal")


def test_missing_things_exist_nowhere(disk):
    assert not disk.exists("job-1")
    assert not disk.exists("archive/0/job-1")
    assert not disk.is_dir("archive")
    for call in (
        lambda: disk.read("job-1", 1),
        lambda: disk.size("job-1"),
        lambda: disk.append("job-1"),
        lambda: disk.unlink("job-1"),
        lambda: disk.rename("job-1", "job-2"),
        lambda: disk.replace("job-1", "job-2"),
        lambda: disk.rename_new("job-1", "job-2"),
        lambda: disk.sync_file("job-1"),
        lambda: disk.sync_dir("archive"),
        lambda: disk.names("archive"),
        lambda: disk.create("archive/0/job-1", b""),
    ):
        with pytest.raises(FileNotFoundError):
            call()


@pytest.mark.parametrize("path", ["", ".", "..", "../etc", "a/..", "a/", "/", "a\0b", "a//b"])
def test_paths_stay_inside_the_queue(disk, path):
    disk.mkdir("a")
    if path == "../etc":
        with pytest.raises(ValueError, match="not a path inside"):
            disk.create(path, b"")
    else:
        with pytest.raises((ValueError, OSError)):
            disk.create(path, b"")
    assert tree(disk) == {"a": None}


def test_absolute_path_is_refused(disk):
    with pytest.raises(ValueError, match="not a path inside"):
        disk.create("/tmp", b"")
    with pytest.raises(ValueError, match="not a path inside"):
        disk.exists("/etc/passwd")


def test_append_file_grows_at_its_end(disk):
    file = disk.append("journal", create=True)
    file.write(b"one ")
    file.write(b"two")
    file.sync()
    assert (file.path, file.size) == ("journal", 7)
    file.close()
    file.close()
    again = disk.append("journal")
    assert again.size == 7
    again.write(b"!")
    again.close()
    assert disk.read("journal", LIMIT) == b"one two!"


def test_append_file_with_space_ahead_overwrites_spaces(disk):
    file = disk.append("journal", create=True, ahead=True)
    file.write(b"one ")
    space = disk.size("journal")
    file.write(b"two")
    assert (file.size, disk.size("journal")) == (7, space)
    assert disk.read("journal", 1 << 20) == b"one two".ljust(space)
    file.write(b"x" * space)
    assert disk.size("journal") > space + 7
    assert disk.read("journal", 1 << 20).rstrip(b" ") == b"one two" + b"x" * space
    file.trim()
    assert disk.read("journal", 1 << 20) == b"one two" + b"x" * space
    file.write(b"!")
    file.size = 7
    file.cut()
    assert disk.read("journal", LIMIT) == b"one two"
    file.write(b".")
    file.close()
    assert disk.read("journal", 1 << 20).rstrip(b" ") == b"one two."


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_space_ahead_is_not_taken_from_a_full_disk(disk, monkeypatch, number):
    file = disk.append("journal", create=True, ahead=True)
    if isinstance(disk, RealDisk):
        real = os.pwrite

        def fill_up(fd, data, offset):
            if offset + len(data) > 10:
                real(fd, data[: 10 - offset], offset)
                raise OSError(number, "No space left on device")
            return real(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", fill_up)
    else:
        disk.capacity = 10
    file.write(b"one ")
    file.write(b"two")
    assert disk.read("journal", LIMIT) == b"one two"
    with pytest.raises(OSError, match="No space left"):
        file.write(b"failing")
    file.cut()
    assert disk.read("journal", LIMIT) == b"one two"


def test_append_with_create_refuses_a_file_that_was_found(disk):
    disk.create("journal", b"old")
    with pytest.raises(FileExistsError):
        disk.append("journal", create=True)


def test_append_file_follows_its_inode_not_its_name(disk):
    file = disk.append(".tmp-1", create=True)
    disk.rename(".tmp-1", "journal")
    file.write(b"one")
    file.close()
    assert tree(disk) == {"journal": b"one"}


def test_overwrite_leaves_exactly_the_new_data(disk):
    disk.overwrite("watermark", b"longer")
    disk.overwrite("watermark", b"short")
    disk.overwrite("watermark", b"longest")
    assert disk.read("watermark", LIMIT) == b"longest"
    disk.allocate("watermark", 100)  # the size that an earlier overwrite left is not relied on
    disk.overwrite("watermark", b"longest")
    assert disk.read("watermark", LIMIT) == b"longest"


def test_overwrite_follows_the_name(disk):
    disk.overwrite("watermark", b"1")
    disk.rename("watermark", "old")
    disk.overwrite("watermark", b"2")
    disk.unlink("watermark")
    disk.overwrite("watermark", b"3")
    disk.create("new", b"4")
    disk.replace("new", "watermark")
    disk.overwrite("watermark", b"5")
    assert tree(disk) == {"old": b"1", "watermark": b"5"}


def test_overwrite_follows_the_name_of_its_directory(disk):
    disk.mkdir("a")
    disk.overwrite("a/watermark", b"1")
    disk.rename("a", "b")
    with pytest.raises(FileNotFoundError):
        disk.overwrite("a/watermark", b"2")
    assert tree(disk) == {"b": None, "b/watermark": b"1"}


def test_allocate_gives_size_and_keeps_content(disk):
    disk.allocate("reserve", 5000)
    assert disk.read("reserve", LIMIT) == bytes(5000)
    disk.create("small", b"abc")
    disk.allocate("small", 5)
    disk.allocate("small", 2)
    assert disk.read("small", LIMIT) == b"abc\0\0"


def test_failed_allocation_leaves_no_file(disk):
    with pytest.raises(OSError, match="Invalid argument"):
        disk.allocate("reserve", 0)
    assert tree(disk) == {}


def test_rename_replaces_and_moves_between_directories(disk):
    disk.mkdir("archive")
    disk.mkdir("archive/0")
    disk.create("job-1", b"new")
    disk.create("archive/0/job-1", b"old")
    disk.rename("job-1", "archive/0/job-1")
    assert tree(disk) == {"archive": None, "archive/0": None, "archive/0/job-1": b"new"}


def test_rename_new_refuses_a_taken_name(disk):
    disk.create("job-1", b"1")
    disk.create("job-2", b"2")
    with pytest.raises(FileExistsError):
        disk.rename_new("job-1", "job-2")
    disk.rename_new("job-1", "job-3")
    assert tree(disk) == {"job-2": b"2", "job-3": b"1"}


def test_replace_leaves_one_name(disk):
    disk.create("a", b"1")
    disk.create("b", b"2")
    disk.replace("a", "b")
    disk.replace("b", "c")
    disk.replace("c", "c")
    assert tree(disk) == {"c": b"1"}


def test_replace_of_a_directory_is_refused_and_changes_nothing(disk):
    disk.mkdir("a")
    disk.create("b", b"2")
    with pytest.raises(IsADirectoryError):
        disk.replace("b", "a")
    assert tree(disk) == {"a": None, "b": b"2"}


def test_swapped_files_are_both_there(disk):
    disk.create("a", b"new")
    assert not disk.swap("a", "job-1")
    disk.create("a", b"newer")
    assert disk.swap("a", "job-1")
    assert tree(disk) == {"a": b"new", "job-1": b"newer"}
    disk.mkdir("b")
    with pytest.raises(IsADirectoryError):
        disk.swap("a", "b")
    assert tree(disk) == {"a": b"new", "b": None, "job-1": b"newer"}


def test_refilled_file_holds_exactly_the_new_data(disk):
    disk.create("a", b"long content")
    assert disk.refill("a", b"short")
    assert tree(disk) == {"a": b"short"}
    assert disk.refill("a", b"longer than that")
    assert tree(disk) == {"a": b"longer than that"}
    with pytest.raises(FileNotFoundError):
        disk.refill("b", b"")


def test_rewriter_writes_whole_files_and_leaves_nothing_else(disk):
    disk.create("job-1", b"1")
    with contextlib.closing(Rewriter(disk)) as rewriter:
        for name in ("job-1", "job-2", "job-1", "job-2", "job-3"):
            rewriter.write(name, b"new " + name.encode())
    assert tree(disk) == {name: b"new " + name.encode() for name in ("job-1", "job-2", "job-3")}


def test_renamed_directory_is_found_under_its_new_name_only(disk):
    disk.mkdir("new")
    disk.mkdir("new/0")
    disk.create("new/0/job-1", b"1")
    disk.rename("new", "archive")
    assert tree(disk) == {"archive": None, "archive/0": None, "archive/0/job-1": b"1"}
    with pytest.raises(FileNotFoundError):
        disk.create("new/0/job-2", b"2")


def test_mkdir_accepts_what_is_there_only_if_told_and_a_directory(disk):
    disk.mkdir("archive")
    disk.mkdir("archive", exist_ok=True)
    with pytest.raises(FileExistsError):
        disk.mkdir("archive")
    disk.create("job-1", b"")
    with pytest.raises(FileExistsError):
        disk.mkdir("job-1", exist_ok=True)


def test_written_file_is_whole_and_alone(disk):
    disk.mkdir("archive")
    disk.write_file("archive/job-1", b"one", new=True)
    with pytest.raises(FileExistsError):
        disk.write_file("archive/job-1", b"two", new=True)
    assert tree(disk) == {"archive": None, "archive/job-1": b"one"}
    disk.write_file("archive/job-1", b"three", new=False)
    disk.write_file("serial", b"1", new=False)
    assert tree(disk) == {"archive": None, "archive/job-1": b"three", "serial": b"1"}


def test_temporary_names_are_recognised_and_job_names_are_not():
    disk = FakeDisk()
    disk.write_file("job-1", b"", new=True)
    assert TEMP_NAME.fullmatch(disk.calls[0][1])
    for name in ("job-1", ".tmp-job-1", "tmp-job-1-0123456789abcdef", ".tmp-x-0123456789abcde\n"):
        assert not TEMP_NAME.fullmatch(name)


def test_names_that_are_not_utf8_are_kept(disk):
    name = os.fsdecode(b"job-\xff")
    disk.create(name, b"1")
    assert disk.names() == [name]
    disk.unlink(name)
    assert disk.names() == []


def test_syncs_of_what_is_there_succeed(disk):
    disk.mkdir("archive")
    disk.create("archive/job-1", b"1")
    disk.sync_file("archive/job-1")
    disk.sync_dir("archive")
    disk.sync_dir()
    disk.sync_all()


def test_writing_after_a_failed_write_needs_a_cut(disk, monkeypatch):
    file = disk.append("journal", create=True)
    file.write(b"good")
    if isinstance(disk, RealDisk):
        real = os.pwrite

        def fill_up(fd, data, offset):
            if offset > 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(fd, data[:3], offset)

        monkeypatch.setattr(os, "pwrite", fill_up)
    else:
        disk.capacity = 7
    with pytest.raises(OSError, match="No space left"):
        file.write(b"failing")
    assert file.size == 4
    assert disk.read("journal", LIMIT) == b"goodfai"
    monkeypatch.undo()
    disk.capacity = None
    with pytest.raises(AssertionError):
        file.write(b"x")
    file.cut()
    file.write(b"!")
    assert disk.read("journal", LIMIT) == b"good!"
    file.close()


# Any sequence of operations

NAMES = st.sampled_from(["a", "b", "job-1", "d", "d/a", "d/b", "d/e", "d/e/a", "a/a"])
DATA = st.binary(max_size=12)
NAME_PAIR = st.tuples(NAMES, NAMES)
OPERATIONS = st.one_of(
    st.tuples(st.just("create"), st.tuples(NAMES, DATA)),
    st.tuples(st.just("overwrite"), st.tuples(NAMES, DATA)),
    st.tuples(st.just("allocate"), st.tuples(NAMES, st.integers(0, 20))),
    st.tuples(st.just("append"), st.tuples(NAMES, DATA, st.booleans())),
    st.tuples(st.sampled_from(["rename", "rename_new", "replace"]), NAME_PAIR),
    st.tuples(st.just("write_file"), st.tuples(NAMES, DATA, st.booleans())),
    st.tuples(st.sampled_from(["unlink", "exists", "is_dir", "sync_file"]), st.tuples(NAMES)),
    st.tuples(st.just("mkdir"), st.tuples(NAMES, st.booleans())),
    st.tuples(st.sampled_from(["names", "sync_dir"]), st.tuples(NAMES | st.just(""))),
    st.tuples(st.just("read"), st.tuples(NAMES, st.integers(0, 12))),
    st.tuples(st.just("read_range"), st.tuples(NAMES, st.integers(0, 12), st.integers(0, 12))),
    st.tuples(st.just("sync_all"), st.just(())),
)


def perform(disk, name, arguments):
    """Return what the operation answers, or the error's kind and number."""
    try:
        if name == "append":
            path, data, create = arguments
            file = disk.append(path, create=create)
            file.write(data)
            file.sync()
            file.close()
            return file.size
        if name == "write_file":
            return disk.write_file(*arguments[:2], new=arguments[2])
        if name == "mkdir":
            return disk.mkdir(arguments[0], exist_ok=arguments[1])
        if name == "replace" and disk.is_dir(arguments[0]):
            return "replace is for files"
        answer = getattr(disk, name)(*arguments)
        return sorted(answer) if name == "names" else answer
    except OSError as error:
        return type(error), error.errno


@settings(max_examples=300, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=25))
def test_both_disks_answer_every_sequence_alike(operations):
    real_path = tempfile.mkdtemp()
    real, fake = RealDisk(real_path), FakeDisk()
    try:
        for name, arguments in [("mkdir", ("d", False)), *operations]:
            assert perform(real, name, arguments) == perform(fake, name, arguments)
        assert tree(real) == tree(fake) == fake.tree()
    finally:
        real.close()
        shutil.rmtree(real_path)


@settings(max_examples=100, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=25), rng=st.randoms(use_true_random=False))
def test_a_full_sync_leaves_a_power_cut_nothing_to_take(operations, rng):
    disk = FakeDisk()
    for name, arguments in [("mkdir", ("d", False)), *operations]:
        perform(disk, name, arguments)
    disk.sync_all()
    assert [state.tree() for state in disk.crash_states(rng)] == [disk.tree()]


@settings(max_examples=100, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=25), rng=st.randoms(use_true_random=False))
def test_what_a_power_cut_leaves_can_be_used_and_is_durable(operations, rng):
    disk = FakeDisk()
    for name, arguments in [("mkdir", ("d", False)), *operations]:
        perform(disk, name, arguments)
    for state in disk.crash_states(rng, limit=8):
        assert [after.tree() for after in state.crash_states(rng)] == [state.tree()]
        for name, arguments in operations:
            perform(state, name, arguments)


# What only the real disk can show


@pytest.fixture
def real(tmp_path):
    with RealDisk(tmp_path) as disk:
        yield disk


def test_links_and_fifos_are_not_followed(real, tmp_path):
    outside, twice = tmp_path / "outside", tmp_path / "twice"
    outside.write_bytes(b"secret")
    twice.write_bytes(b"secret")
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "hard").hardlink_to(twice)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "hard", "fifo"):
        for call in (
            lambda name=name: real.read(name, LIMIT),
            lambda name=name: real.append(name),
            lambda name=name: real.overwrite(name, b"x"),
            lambda name=name: real.sync_file(name),
        ):
            with pytest.raises(NotRegular):
                call()
    assert outside.read_bytes() == twice.read_bytes() == b"secret"
    assert real.exists("link")
    assert not real.is_dir("link")


def test_a_linked_directory_is_not_entered(real, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        real.create("archive/job-1", b"")
    with pytest.raises(NotADirectoryError):
        real.names("archive")
    assert [*(tmp_path / "elsewhere").iterdir()] == []


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
@pytest.mark.parametrize(
    ("given_mode", "file", "folder"), [(0o600, 0o600, 0o700), (0o640, 0o640, 0o750)]
)
def test_modes_do_not_depend_on_the_umask(tmp_path, umask, given_mode, file, folder):
    before = os.umask(umask)
    try:
        with RealDisk(tmp_path, file_mode=given_mode) as disk:
            disk.write_file("job-1", b"", new=True)
            disk.overwrite("watermark", b"")
            disk.append("journal", create=True).close()
            disk.allocate("reserve", 1)
            disk.mkdir("archive")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tmp_path.iterdir()}
    assert modes == {
        "job-1": file,
        "watermark": file,
        "journal": file,
        "reserve": file,
        "archive": folder,
    }


@pytest.mark.parametrize(("mode", "expected"), [(0o700, 0o600), (0o750, 0o640), (0o755, 0o640)])
def test_files_follow_the_mode_of_the_directory(tmp_path, mode, expected):
    tmp_path.chmod(mode)
    with RealDisk(tmp_path) as disk:
        assert disk.file_mode == expected


def test_descriptors_do_not_grow_with_the_archive(real):
    before = len(os.listdir("/proc/self/fd"))
    real.mkdir("archive")
    for number in range(100):
        real.mkdir(f"archive/{number}")
        real.create(f"archive/{number}/job-1", b"")
    for number in range(100):
        assert real.names(f"archive/{number}") == ["job-1"]
    assert len(os.listdir("/proc/self/fd")) <= before + disk_module.MAX_OPEN_DIRECTORIES
    real.close()
    assert len(os.listdir("/proc/self/fd")) < before


def test_descriptors_do_not_grow_with_the_files_overwritten(real):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        real.overwrite(f"mark-{number}", b"1")
    assert len(os.listdir("/proc/self/fd")) < before + 10


def test_a_directory_on_another_file_system_is_refused(real, monkeypatch):
    real.mkdir("archive")
    real.close()
    with RealDisk(real.path) as again:
        monkeypatch.setattr(again, "_device", -1)
        with pytest.raises(OSError, match="another file system") as caught:
            again.create("archive/job-1", b"")
        assert caught.value.errno == errno.EXDEV


def test_closed_disk_refuses(real):
    real.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        real.create("job-1", b"")


def test_replace_falls_back_to_rename_where_names_cannot_be_exchanged(real, monkeypatch):
    monkeypatch.setattr("jqueue.store.syscalls._renameat2", None)
    real.write_file("job-1", b"1", new=True)
    with pytest.raises(FileExistsError):
        real.write_file("job-1", b"2", new=True)
    real.write_file("job-1", b"3", new=False)
    assert tree(real) == {"job-1": b"3"}
    # The fallback is remembered: were the names exchanged again, this would be called.
    monkeypatch.setattr("jqueue.store.syscalls._renameat2", lambda *_: pytest.fail("tried again"))
    real.write_file("job-1", b"4", new=False)
    assert tree(real) == {"job-1": b"4"}


def test_a_file_replaced_while_open_is_still_read_whole(real, monkeypatch):
    real.create("job-1", b"old")
    opened = os.open

    def open_then_replace(*arguments, **keywords):
        fd = opened(*arguments, **keywords)
        monkeypatch.undo()
        real.write_file("job-1", b"new", new=False)
        return fd

    monkeypatch.setattr(os, "open", open_then_replace)
    assert real.read("job-1", LIMIT) == b"old"


def test_file_that_somebody_else_has_is_not_refilled(real, tmp_path):
    real.create("a", b"old")
    with open(tmp_path / "a", "rb") as reader:
        assert not real.refill("a", b"new")
        assert reader.read() == b"old"
    os.link(tmp_path / "a", tmp_path / "b")
    assert not real.refill("a", b"new")
    os.unlink(tmp_path / "b")
    os.chmod(tmp_path / "a", 0o644)
    assert not real.refill("a", b"new")
    os.chmod(tmp_path / "a", 0o600)
    real.write_file("a", b"x" * (disk_module.MAX_REFILLED_BYTES + 1), new=False)
    assert not real.refill("a", b"new")
    assert real.size("a") == disk_module.MAX_REFILLED_BYTES + 1
    real.write_file("a", b"small", new=False)
    with open(tmp_path / "a", "rb") as reader:
        mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
    assert not real.refill("a", b"new")
    mapped.close()
    assert real.refill("a", b"new")


def test_who_opens_a_file_before_it_is_replaced_reads_it_whole(real, tmp_path):
    for name in ("job-1", "job-2"):
        real.create(name, b"old " + name.encode())
    with contextlib.closing(Rewriter(real)) as rewriter, open(tmp_path / "job-1", "rb") as reader:
        rewriter.write("job-1", b"new job-1")
        rewriter.write("job-2", b"new job-2")
        assert reader.read() == b"old job-1"
    assert tree(real) == {"job-1": b"new job-1", "job-2": b"new job-2"}


def test_root_is_made_with_its_parents(tmp_path):
    path = tmp_path / "a" / "b"
    make_root(path, file_mode=0o640)
    make_root(path)
    assert path.stat().st_mode & 0o7777 == 0o750
