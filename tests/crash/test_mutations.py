"""Every mutation of a healthy directory is found by verify, or changes nothing of what is read."""

import shutil

import pytest

from archive_tools.verify import verify
from jqueue.errors import JQueueError
from jqueue.store.directory import DirectoryStore
from jqueue.store.offline import OfflineQueue
from jqueue.store.realdisk import RealDisk
from tests.crash.mutations import files_of, make_queue
from tests.crash.workload import state_of

pytestmark = pytest.mark.damages


@pytest.fixture(scope="module", params=["closed", "killed"])
def healthy(request, tmp_path_factory):
    """A small queue with history, archived jobs, children, keys; closed cleanly or left behind."""
    path = tmp_path_factory.mktemp("queue") / "q"
    make_queue(path, request.param)
    assert verify(path) == []
    return path


def reading(path):
    """All that list, info and recovery say of a directory."""
    with OfflineQueue(path) as queue:
        jobs = {job: queue.job(job) for job in queue.job_ids(archived=True)}
        listed = queue.job_ids(), queue.open_ids()
        shown = {job: seen and (seen.to_dict(), seen.archived) for job, seen in jobs.items()}
    return listed, shown


def recovered(path, tmp_path):
    copy = tmp_path / "recovered"
    shutil.copytree(path, copy)
    try:
        store = DirectoryStore(RealDisk(copy), background=False)
        state = state_of(store)
        store.close()
        return state
    finally:
        shutil.rmtree(copy)


class Judge:
    """Says whether a mutation is found or harmless."""

    def __init__(self, healthy, tmp_path):
        self.path = tmp_path / "q"
        self.tmp_path = tmp_path
        shutil.copytree(healthy, self.path)
        self.said = reading(self.path)
        self.recovery = recovered(self.path, tmp_path)

    def accepts(self):
        if verify(self.path):
            return True
        try:
            return (
                reading(self.path) == self.said
                and recovered(self.path, self.tmp_path) == self.recovery
            )
        except (JQueueError, OSError):
            return False


SHARES = [pytest.param(share, marks=[pytest.mark.slow] if share > 1 else []) for share in range(8)]


@pytest.mark.parametrize("share", SHARES)
def test_a_flipped_bit_is_found_or_harmless(healthy, tmp_path, share):
    judge = Judge(healthy, tmp_path)
    missed = []
    flips = 0
    for file in files_of(judge.path):
        data = file.read_bytes()
        for offset in range(len(data)):
            # Every byte of every file, one bit each; over the shares of a run, every bit of some.
            if hash((offset, len(data))) % 40 != share:
                continue
            flips += 1
            bit = 1 << ((offset + share) % 8)
            file.write_bytes(data[:offset] + bytes([data[offset] ^ bit]) + data[offset + 1 :])
            if not judge.accepts():
                missed.append((file.name, offset, bit))
        file.write_bytes(data)
    assert flips
    assert missed == []


def test_a_damaged_line_end_is_found_or_harmless(healthy, tmp_path):
    judge = Judge(healthy, tmp_path)
    missed = []
    for file in files_of(judge.path / "journal"):
        data = file.read_bytes()
        for offset in (at for at, byte in enumerate(data) if byte == ord("\n")):
            file.write_bytes(data[:offset] + b"\x0b" + data[offset + 1 :])
            if not judge.accepts():
                missed.append((file.name, offset))
        file.write_bytes(data)
    assert missed == []


def test_a_cut_off_file_is_found_or_harmless(healthy, tmp_path):
    judge = Judge(healthy, tmp_path)
    missed = []
    for file in files_of(judge.path):
        data = file.read_bytes()
        ends = {0, 1, len(data) // 2, len(data) - 1}
        ends |= {at + 1 for at, byte in enumerate(data[:-1]) if byte == ord("\n")}
        for end in sorted(ends):
            file.write_bytes(data[:end])
            if not judge.accepts():
                missed.append((file.name, end))
        file.write_bytes(data)
    assert missed == []


def test_a_missing_file_is_found_or_harmless(healthy, tmp_path):
    judge = Judge(healthy, tmp_path)
    missed = []
    for file in files_of(judge.path):
        aside = tmp_path / "aside"
        file.rename(aside)
        if not judge.accepts():
            missed.append(file.name)
        aside.rename(file)
    assert missed == []


def test_swapped_and_doubled_files_are_found_or_harmless(healthy, tmp_path):
    judge = Judge(healthy, tmp_path)
    missed = []
    files = files_of(judge.path)
    for first, second in zip(files, [*files[1:], files[0]], strict=True):
        one, two = first.read_bytes(), second.read_bytes()
        for changed in ((two, one), (one, one), (two, two)):
            first.write_bytes(changed[0])
            second.write_bytes(changed[1])
            if not judge.accepts():
                missed.append((first.name, second.name))
        first.write_bytes(one)
        second.write_bytes(two)
    for file in files:
        for name in ("job-77", "archive/0/job-78", "archive/1/" + file.name, "journal/00000099"):
            target = judge.path / name
            if target.exists() or not target.parent.is_dir():
                continue
            shutil.copy(file, target)
            if not judge.accepts():
                missed.append((file.name, name))
            target.unlink()
    assert missed == []
